#include "cuda/products.h"

#include "cuda/tile_product.h"

namespace harken::cuda {

Products::Products(Stream& stream) : stream_(stream) {
    if (const CublasLt* library = CublasLt::find()) lt_.emplace(*library, stream);
}

void Products::run(const DeviceMatrix& w, const void* x, std::size_t num_rows, float* y, bool accumulate) {
    if (num_rows == 0) return;
    if (lt_ && lt_->run(w, x, num_rows, y, accumulate)) return;
    tile_product(w, x, num_rows, y, accumulate, stream_);
}

}  // namespace harken::cuda
