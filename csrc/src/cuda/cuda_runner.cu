#include "cuda/cuda_runner.h"

#include <mutex>
#include <optional>

#include "cuda/device_decoder.h"
#include "cuda/device_tower.h"
#include "cuda/pooled_vectors.h"
#include "packed_prompts.h"

namespace harken::cuda {
namespace {

/// Frees on the device what it made there.
class CudaRunner final : public Runner {
  public:
    CudaRunner(const Bundle& bundle, int device) : device_(device), bundle_(bundle), tower_(bundle) {
        const OnDevice here(device);
        state_.emplace(bundle, tower_);
    }
    ~CudaRunner() override {
        try {
            const OnDevice here(device_);
            state_.reset();
        } catch (const Error&) {
            state_.reset();
        }
    }

    [[nodiscard]] const char* name() const noexcept override { return state_->products.by_cublaslt() ? "cuda cublaslt" : "cuda"; }
    [[nodiscard]] bool pads() const noexcept override { return false; }

    void run(const std::vector<std::span<const float>>& clips, const std::vector<const Prompt*>& prompts, float* vectors,
             ThreadPool& pool) const override {
        const PackedPrompts packed = pack_prompts(prompts, bundle_.recipe);
        const std::lock_guard lock(turn_);
        const OnDevice here(device_);
        State& s = *state_;
        const float* audio = clips.empty() ? nullptr : s.tower.encode(tower_, clips, pool, s.products, s.stream);
        const float* hidden = s.decoder.run(packed.sources, audio, packed.segments, bundle_.recipe.causal, packed.last_only,
                                            s.products, s.stream);
        const std::optional<DeviceSide>& side = clips.empty() ? s.text_side : s.audio_side;
        s.pooling.run(s.decoder, hidden, packed.last_only ? prompts.size() : packed.sources.size(), packed.ranges,
                      side ? &*side : nullptr, bundle_.recipe, vectors, s.products, s.stream);
    }

  private:
    /// What lies on the device.
    struct State {
        Stream stream;
        DeviceBuffer staging;
        Products products;
        DeviceTower tower;
        DeviceDecoder decoder;
        std::optional<DeviceSide> audio_side, text_side;
        DevicePooling pooling;

        State(const Bundle& bundle, const Tower& host)
            : products(stream),
              tower(host,
                    bundle.projects ? bundle.matrix("projector", bundle.decoder.width, bundle.tower.width) : host.projection(),
                    staging, stream),
              decoder(Decoder(bundle), staging, stream) {
            if (bundle.recipe.has_audio_head) audio_side.emplace(PoolHead(bundle, "heads.audio"), staging, stream);
            if (bundle.recipe.has_text_head) text_side.emplace(PoolHead(bundle, "heads.text"), staging, stream);
            stream.wait();
            staging = DeviceBuffer();
        }
    };

    int device_;
    const Bundle& bundle_;
    Tower tower_;
    mutable std::optional<State> state_;
    mutable std::mutex turn_;
};

}  // namespace

std::unique_ptr<const Runner> make_cuda_runner(const Bundle& bundle, int device) {
    return std::make_unique<CudaRunner>(bundle, device);
}

}  // namespace harken::cuda
