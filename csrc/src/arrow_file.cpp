#include "arrow_file.h"

#include <cstdint>
#include <cstring>

#include "error.h"

// Source: Arrow columnar format 1.5 (File.fbs, Message.fbs, Schema.fbs) and the FlatBuffers binary format.

namespace harken {
namespace {

constexpr std::string_view kMagic = "ARROW1";
constexpr std::uint8_t kUtf8 = 5, kRecordBatch = 3;
constexpr std::size_t kBlockBytes = 24, kPairBytes = 16;

struct Damaged {};

/// Bytes that are read only within their bounds.
class Buffer {
  public:
    explicit Buffer(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <typename T>
    T at(std::uint64_t place) const {
        T value;
        std::memcpy(&value, part(place, sizeof(T)).data(), sizeof(T));
        return value;
    }

    std::span<const std::byte> part(std::uint64_t place, std::uint64_t length) const {
        if (place > bytes_.size() || length > bytes_.size() - place) throw Damaged();
        return bytes_.subspan(place, length);
    }

    std::string_view text(std::uint64_t place, std::uint64_t length) const {
        const std::span<const std::byte> found = part(place, length);
        return {reinterpret_cast<const char*>(found.data()), found.size()};
    }

    std::size_t size() const { return bytes_.size(); }

  private:
    std::span<const std::byte> bytes_;
};

/// A FlatBuffers table: its fields are found through a table of offsets.
class Table {
  public:
    Table(Buffer buffer, std::uint64_t place) : buffer_(buffer), place_(place) {
        const std::int64_t offsets = static_cast<std::int64_t>(place) - buffer.at<std::int32_t>(place);
        if (offsets < 0) throw Damaged();
        offsets_ = static_cast<std::uint64_t>(offsets);
    }
    static Table root(Buffer buffer) { return {buffer, buffer.at<std::uint32_t>(0)}; }

    bool has(unsigned field) const { return find(field) != 0; }

    template <typename T>
    T number(unsigned field) const {
        const std::uint64_t place = find(field);
        return place ? buffer_.at<T>(place) : T{};
    }
    Table table(unsigned field) const { return {buffer_, follow(wanted(field))}; }
    std::string_view text(unsigned field) const {
        const std::uint64_t place = follow(wanted(field));
        return buffer_.text(place + 4, buffer_.at<std::uint32_t>(place));
    }
    /// Length of a vector, and where its first element lies; the elements are within bounds.
    std::pair<std::size_t, std::uint64_t> vector(unsigned field, std::size_t element_bytes) const {
        if (!has(field)) return {0, 0};
        const std::uint64_t place = follow(find(field)), length = buffer_.at<std::uint32_t>(place);
        buffer_.part(place + 4, length * element_bytes);
        return {length, place + 4};
    }
    /// An element of a vector of tables.
    Table element(std::uint64_t place) const { return {buffer_, follow(place)}; }

  private:
    std::uint64_t find(unsigned field) const {
        const std::uint64_t entry = 4 + 2 * field;
        if (entry + 2 > buffer_.at<std::uint16_t>(offsets_)) return 0;
        const std::uint16_t offset = buffer_.at<std::uint16_t>(offsets_ + entry);
        return offset ? place_ + offset : 0;
    }
    std::uint64_t wanted(unsigned field) const {
        if (!has(field)) throw Damaged();
        return find(field);
    }
    std::uint64_t follow(std::uint64_t place) const { return place + buffer_.at<std::uint32_t>(place); }

    Buffer buffer_;
    std::uint64_t place_, offsets_;
};

/// The strings of one record batch.
void read_batch(Buffer file, std::uint64_t block, Buffer footer, std::vector<std::string_view>& out) {
    const std::int64_t offset = footer.at<std::int64_t>(block), metadata = footer.at<std::int32_t>(block + 8);
    const std::int64_t body_length = footer.at<std::int64_t>(block + 16);
    if (offset < 0 || metadata < 8 || body_length < 0) throw Damaged();
    const std::uint64_t start = static_cast<std::uint64_t>(offset);
    // A marker and a length stand before the message in all but the oldest files.
    const std::uint64_t prefix = file.at<std::uint32_t>(start) == 0xffffffff ? 8 : 4;
    const Buffer message_bytes(file.part(start + prefix, static_cast<std::uint64_t>(metadata) - prefix));
    const Buffer body(file.part(start + static_cast<std::uint64_t>(metadata), static_cast<std::uint64_t>(body_length)));
    const Table message = Table::root(message_bytes);
    if (message.number<std::uint8_t>(1) != kRecordBatch) throw Damaged();
    const Table batch = message.table(2);
    if (batch.has(3)) throw Damaged();
    const auto [num_nodes, nodes] = batch.vector(1, kPairBytes);
    const auto [num_buffers, first_buffer] = batch.vector(2, kPairBytes);
    if (num_nodes < 1 || num_buffers < 3) throw Damaged();
    const std::int64_t length = message_bytes.at<std::int64_t>(nodes),
                       num_nulls = message_bytes.at<std::int64_t>(nodes + 8);
    if (length < 0 || num_nulls != 0) throw Damaged();
    if (length == 0) return;
    // The column's buffers: validity, offsets, data. Clang before 16 captures no structured binding.
    const auto buffer = [&, buffers = first_buffer](std::uint64_t i) {
        const std::int64_t place = message_bytes.at<std::int64_t>(buffers + i * kPairBytes);
        const std::int64_t size = message_bytes.at<std::int64_t>(buffers + i * kPairBytes + 8);
        if (place < 0 || size < 0) throw Damaged();
        return Buffer(body.part(static_cast<std::uint64_t>(place), static_cast<std::uint64_t>(size)));
    };
    const Buffer offsets = buffer(1), data = buffer(2);
    const std::uint64_t count = static_cast<std::uint64_t>(length);
    if (offsets.size() / 4 < count + 1) throw Damaged();
    out.reserve(out.size() + count);
    std::int32_t begin = offsets.at<std::int32_t>(0);
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::int32_t end = offsets.at<std::int32_t>(4 * (i + 1));
        if (begin < 0 || end < begin) throw Damaged();
        out.push_back(data.text(static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end - begin)));
        begin = end;
    }
}

}  // namespace

std::vector<std::string_view> read_arrow_strings(std::span<const std::byte> bytes, std::string_view column,
                                                 const std::string& where) {
    const auto refuse = [&](const std::string& why) { throw Error(HARKEN_FILE_FORMAT_ERROR, where + ": " + why); };
    try {
        const Buffer file(bytes);
        const std::size_t end_bytes = 4 + kMagic.size();
        if (bytes.size() < 8 + end_bytes || file.text(0, kMagic.size()) != kMagic ||
            file.text(bytes.size() - kMagic.size(), kMagic.size()) != kMagic)
            refuse("is no Arrow file");
        const std::int32_t length = file.at<std::int32_t>(bytes.size() - end_bytes);
        if (length <= 0 || static_cast<std::size_t>(length) > bytes.size() - end_bytes) throw Damaged();
        const Buffer footer(
            file.part(bytes.size() - end_bytes - static_cast<std::size_t>(length), static_cast<std::uint64_t>(length)));
        const Table root = Table::root(footer), schema = root.table(1);
        const auto [num_fields, fields] = schema.vector(1, 4);
        if (num_fields == 0) throw Damaged();
        const Table first = schema.element(fields);
        if (first.text(0) != column || first.number<std::uint8_t>(2) != kUtf8 || first.has(4))
            refuse("its first column is not \"" + std::string(column) + "\" of type utf8");
        const auto [num_blocks, blocks] = root.vector(3, kBlockBytes);
        std::vector<std::string_view> strings;
        for (std::size_t i = 0; i < num_blocks; ++i) read_batch(file, blocks + i * kBlockBytes, footer, strings);
        return strings;
    } catch (const Damaged&) {
        refuse("is a damaged Arrow file, or one of a kind that harken does not write");
    }
    return {};
}

}  // namespace harken
