// One packed matrix on its own, for benchmarks and tests.
#include <pybind11/numpy.h>

#include <cmath>

#include "binding.h"
#include "buffer.h"
#include "error.h"
#include "half.h"
#include "kernels.h"
#include "linear.h"

namespace py = pybind11;

namespace harken {
namespace {

using Rows = py::array_t<float, py::array::c_style | py::array::forcecast>;

/// W [n, k] packed as a bundle holds it.
class Product {
  public:
    Product(const Rows& weight, const std::string& dtype) {
        if (weight.ndim() != 2) throw Error(HARKEN_INVALID_ARGUMENT, "Product: wanted a weight [n, k]");
        matrix_.num_out = static_cast<std::size_t>(weight.shape(0));
        matrix_.num_in = static_cast<std::size_t>(weight.shape(1));
        panels_ = Buffer<float>(matrix_.num_panels() * kPanel * matrix_.num_in);
        pack_panels(weight.data(), matrix_.num_in, matrix_.num_out, matrix_.num_in, panels_.data());
        matrix_.panels = panels_.data();
        if (dtype == "bfloat16" || dtype == "float16")
            halve(dtype == "bfloat16");
        else if (dtype == "int8")
            round_rows();
        else if (dtype != "float32")
            throw Error(HARKEN_INVALID_ARGUMENT, "Product: dtype is " + dtype + "; wanted float32, bfloat16, float16 or int8");
    }

    py::array_t<float> run(ThreadPool& pool, const Rows& x) const {
        if (x.ndim() != 2 || static_cast<std::size_t>(x.shape(1)) != matrix_.num_in)
            throw Error(HARKEN_INVALID_ARGUMENT, "Product: wanted x [m, " + std::to_string(matrix_.num_in) + "]");
        py::array_t<float> y({x.shape(0), static_cast<py::ssize_t>(matrix_.num_out)});
        float* const out = y.mutable_data();
        const auto num_rows = static_cast<std::size_t>(x.shape(0));
        const float* const in = x.data();
        const py::gil_scoped_release unlocked;
        linear(matrix_, in, num_rows, out, false, pool);
        return y;
    }

  private:
    void halve(bool bfloat) {
        halves_ = Buffer<std::uint16_t>(panels_.size());
        for (std::size_t i = 0; i < panels_.size(); ++i)
            halves_[i] = bfloat ? float_to_bfloat16(panels_[i]) : float_to_half(panels_[i]);
        matrix_.dtype = bfloat ? DType::bfloat16 : DType::float16;
        matrix_.panels = halves_.data();
    }

    void round_rows() {
        bytes_ = Buffer<std::int8_t>(panels_.size());
        scales_ = Buffer<float>(matrix_.num_scales());
        const std::size_t num_rows = matrix_.num_panels() * kPanel;
        for (std::size_t i = 0; i < scales_.size(); ++i) {
            const std::size_t row = i % num_rows, begin = i / num_rows * kScaleSpan;
            const std::size_t end = std::min(begin + kScaleSpan, matrix_.num_in);
            const auto at = [&](std::size_t k) { return (row / kPanel * matrix_.num_in + k) * kPanel + row % kPanel; };
            float largest = 0;
            for (std::size_t k = begin; k < end; ++k) largest = std::max(largest, std::fabs(panels_[at(k)]));
            scales_[i] = largest > 0 ? largest / 127 : 1;
            for (std::size_t k = begin; k < end; ++k)
                bytes_[at(k)] = static_cast<std::int8_t>(std::nearbyint(panels_[at(k)] / scales_[i]));
        }
        matrix_.dtype = DType::int8;
        matrix_.panels = bytes_.data();
        matrix_.scales = scales_.data();
    }

    PackedMatrix matrix_;
    Buffer<float> panels_, scales_;
    Buffer<std::uint16_t> halves_;
    Buffer<std::int8_t> bytes_;
};

}  // namespace

void bind_product(py::module_& module) {
    py::class_<Product>(module, "Product", py::module_local(), "y = x W^T with a packed W [n, k].")
        .def(py::init<const Rows&, const std::string&>(), py::arg("weight"), py::arg("dtype") = "float32")
        .def("__call__", &Product::run, py::arg("pool"), py::arg("x"));
}

}  // namespace harken
