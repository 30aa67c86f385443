// Pillow's antialiased bilinear resizing, the one that the network was trained with: a
// triangle filter as wide as the step between pixels, along rows and along columns.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace resample {

struct Size {
  int height, width;
};

// The weights of the old pixels, from `first` on, in one new pixel.
struct Tap {
  int first;
  std::vector<double> weights;
};

constexpr double kOne = 1 << 22;

inline std::vector<Tap> make_taps(int length, int new_length) {
  const double scale = static_cast<double>(length) / new_length;
  const double reach = std::max(scale, 1.0);
  std::vector<Tap> taps(new_length);
  for (int pixel = 0; pixel < new_length; ++pixel) {
    const double centre = (pixel + 0.5) * scale;
    Tap& tap = taps[pixel];
    tap.first = std::max(static_cast<int>(centre - reach + 0.5), 0);
    const int past = std::min(static_cast<int>(centre + reach + 0.5), length);
    double sum = 0;
    for (int old = tap.first; old < past; ++old) {
      const double distance = std::abs((old - centre + 0.5) * (1 / reach));
      tap.weights.push_back(std::max(1 - distance, 0.0));
      sum += tap.weights.back();
    }
    for (double& weight : tap.weights) weight /= sum;
  }
  return taps;
}

// Grey levels are summed in whole numbers of 1 / 2^22 and rounded after each pass, so
// every pixel comes out as in Pillow.
struct Levels {
  static double weight(double weight) { return std::floor(0.5 + weight * kOne); }
  static double finish(double sum) {
    return std::clamp(std::floor((sum + kOne / 2) / kOne), 0.0, 255.0);
  }
};

// Numbers of 32 bits.
struct Floats {
  static double weight(double weight) { return weight; }
  static double finish(double sum) { return static_cast<float>(sum); }
};

template <typename Rule>
std::vector<double> along_rows(const std::vector<double>& source, int width,
                               int new_width) {
  const std::vector<Tap> taps = make_taps(width, new_width);
  const int height = static_cast<int>(source.size()) / width;
  std::vector<double> target;
  target.reserve(static_cast<size_t>(height) * new_width);
  for (int row = 0; row < height; ++row) {
    for (const Tap& tap : taps) {
      const double* old = &source[static_cast<size_t>(row) * width + tap.first];
      double sum = 0;
      for (double weight : tap.weights) sum += *old++ * Rule::weight(weight);
      target.push_back(Rule::finish(sum));
    }
  }
  return target;
}

template <typename Rule>
std::vector<double> along_columns(const std::vector<double>& source, int width,
                                  int new_height) {
  const int height = static_cast<int>(source.size()) / width;
  std::vector<double> target(static_cast<size_t>(new_height) * width);
  double* row = target.data();
  for (const Tap& tap : make_taps(height, new_height)) {
    const double* old = &source[static_cast<size_t>(tap.first) * width];
    for (double weight : tap.weights) {
      const double factor = Rule::weight(weight);
      for (int column = 0; column < width; ++column) row[column] += *old++ * factor;
    }
    for (int column = 0; column < width; ++column) row[column] = Rule::finish(row[column]);
    row += width;
  }
  return target;
}

// `Rule` is Levels for grey values of 0 to 255, and Floats for probabilities.
template <typename Rule, typename Number>
std::vector<Number> resize(const std::vector<Number>& source, Size from, Size to) {
  std::vector<double> values(source.begin(), source.end());
  const int less = from.height - to.height;
  if (less > 0 && less > 2 * (from.width - to.width)) {  // as Pillow 13
    values = along_columns<Rule>(values, from.width, to.height);
    values = along_rows<Rule>(values, from.width, to.width);
  } else {
    values = along_rows<Rule>(values, from.width, to.width);
    values = along_columns<Rule>(values, to.width, to.height);
  }
  return {values.begin(), values.end()};
}

inline std::vector<uint8_t> image(const std::vector<uint8_t>& levels, Size from,
                                  Size to) {
  return resize<Levels>(levels, from, to);
}

inline std::vector<float> probability(const std::vector<float>& values, Size from,
                                      Size to) {
  return resize<Floats>(values, from, to);
}

}  // namespace resample
