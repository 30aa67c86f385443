// From a PGM image to a PGM mask of the same size and the probability of each class,
// through LiteRT's C API: docs/how-to/on-device.md says how to build and run it.
//
//   predict MODEL.tflite IMAGE.pgm MASK.pgm
//
// Reads the names of the classes from MODEL.tflite.json. The mask is 255 where the
// probability of lesion is above 0.5; the rules of the card are not applied.

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "resample.h"

// Of LiteRT 2.3, so that its shared library is enough; with its headers at hand include
// litert/c/litert_compiled_model.h and litert/c/litert_tensor_buffer.h instead.
using Handle = struct LiteRtObject*;
extern "C" {
int LiteRtCreateEnvironment(int count, const void* options, Handle* environment);
int LiteRtCreateModelFromFile(Handle environment, const char* file, Handle* model);
int LiteRtCreateOptions(Handle* options);
int LiteRtSetOptionsHardwareAccelerators(Handle options, int accelerators);
int LiteRtCreateCompiledModel(Handle environment, Handle model, Handle options,
                              Handle* compiled);
int LiteRtGetModelSignature(Handle model, size_t index, Handle* signature);
int LiteRtGetSignatureOutputName(Handle signature, size_t index, const char** name);
int LiteRtGetSignatureInputTensorByIndex(Handle signature, size_t index, Handle*);
int LiteRtGetSignatureOutputTensorByIndex(Handle signature, size_t index, Handle*);
int LiteRtGetRankedTensorType(Handle tensor, void* type);
int LiteRtGetCompiledModelInputBufferRequirements(Handle compiled, size_t signature,
                                                  size_t index, Handle*);
int LiteRtGetCompiledModelOutputBufferRequirements(Handle compiled, size_t signature,
                                                   size_t index, Handle*);
int LiteRtCreateManagedTensorBufferFromRequirements(Handle environment,
                                                    const void* type,
                                                    Handle requirements, Handle*);
int LiteRtGetTensorBufferPackedSize(Handle buffer, size_t* bytes);
int LiteRtLockTensorBuffer(Handle buffer, void** memory, int mode);
int LiteRtUnlockTensorBuffer(Handle buffer);
int LiteRtRunCompiledModel(Handle compiled, size_t signature, size_t inputs,
                           Handle* input, size_t outputs, Handle* output);
}

constexpr int kCpu = 1, kRead = 0, kWrite = 1;
constexpr resample::Size kNetwork{256, 256};
constexpr size_t kPixels = 256 * 256;

struct Image {
  resample::Size size;
  std::vector<uint8_t> levels;
};

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "error: " << what << '\n';
  std::exit(2);
}

void check(int status, const std::string& what) {
  if (status != 0) fail(what + " (LiteRT status " + std::to_string(status) + ")");
}

// A number of a PGM's header; "#" starts a comment.
int read_number(std::istream& file) {
  while ((file >> std::ws).peek() == '#') file.ignore(1 << 16, '\n');
  int number = 0;
  file >> number;
  return number;
}

Image read_pgm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic(2, ' ');
  file.read(&magic[0], 2);
  const int width = read_number(file), height = read_number(file);
  const bool is_8_bit = read_number(file) == 255;
  file.get();  // the white space before the pixels
  if (!file || magic != "P5" || !is_8_bit || width < 1 || height < 1 ||
      width > (1 << 15) || height > (1 << 15)) {
    fail(path + " must be a binary PGM of 8 bits (P5, 255); `convert` makes one.");
  }
  Image image{{height, width}, std::vector<uint8_t>(size_t(height) * width)};
  file.read(reinterpret_cast<char*>(image.levels.data()), image.levels.size());
  if (!file) fail(path + " ends before its last pixel; make it again.");
  return image;
}

void write_pgm(const std::string& path, const Image& image) {
  std::ofstream file(path, std::ios::binary);
  file << "P5\n" << image.size.width << ' ' << image.size.height << "\n255\n";
  file.write(reinterpret_cast<const char*>(image.levels.data()), image.levels.size());
  if (!file.flush()) fail(path + " cannot be written.");
}

// A label has no backslash, so JSON's strings are what is between two quotes.
std::vector<std::string> read_labels(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::smatch list;
  if (!std::regex_search(text, list, std::regex(R"("labels":\s*\[([^\]]*)\])"))) {
    fail(path + " must list the labels; keep it beside the model.");
  }
  const std::string names = list[1];
  const std::regex quoted(R"re("([^"]*)")re");
  std::vector<std::string> labels;
  for (std::sregex_iterator at(names.begin(), names.end(), quoted), end; at != end; ++at) {
    labels.push_back((*at)[1]);
  }
  return labels;
}

Handle make_buffer(Handle environment, Handle tensor, Handle requirements) {
  // Larger than LiteRtRankedTensorType, a struct of 100 bytes.
  alignas(8) char type[512];
  check(LiteRtGetRankedTensorType(tensor, type), "type of a tensor");
  Handle buffer;
  check(LiteRtCreateManagedTensorBufferFromRequirements(environment, type, requirements,
                                                        &buffer),
        "memory for a tensor");
  return buffer;
}

std::vector<float> read_floats(Handle buffer, const std::string& name) {
  size_t bytes;
  void* memory;
  check(LiteRtGetTensorBufferPackedSize(buffer, &bytes), name);
  check(LiteRtLockTensorBuffer(buffer, &memory, kRead), name);
  const float* values = static_cast<float*>(memory);
  std::vector<float> copy(values, values + bytes / sizeof(float));
  check(LiteRtUnlockTensorBuffer(buffer), name);
  return copy;
}

// Runs the network on 256 x 256 grey levels; gives its outputs by name.
std::map<std::string, std::vector<float>> run(const std::string& file,
                                              const std::vector<uint8_t>& levels) {
  Handle environment, model, options, compiled, signature, tensor, requirements;
  check(LiteRtCreateEnvironment(0, nullptr, &environment), "environment");
  check(LiteRtCreateModelFromFile(environment, file.c_str(), &model), file);
  check(LiteRtCreateOptions(&options), "options");
  check(LiteRtSetOptionsHardwareAccelerators(options, kCpu), "accelerator");
  check(LiteRtCreateCompiledModel(environment, model, options, &compiled), "compile");
  check(LiteRtGetModelSignature(model, 0, &signature), "signature");

  check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), "input");
  check(LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, 0, &requirements),
        "input");
  Handle input = make_buffer(environment, tensor, requirements);
  size_t bytes;
  check(LiteRtGetTensorBufferPackedSize(input, &bytes), "input");
  if (bytes != kPixels * sizeof(float)) {
    fail(file + " must take 256 x 256 floats; use the float32 file of such a model.");
  }
  void* memory;
  check(LiteRtLockTensorBuffer(input, &memory, kWrite), "image");
  std::copy(levels.begin(), levels.end(), static_cast<float*>(memory));
  check(LiteRtUnlockTensorBuffer(input), "image");

  Handle outputs[2];
  const char* names[2];  // The outputs' order is not fixed; their names are.
  for (size_t i = 0; i < 2; ++i) {
    check(LiteRtGetSignatureOutputName(signature, i, &names[i]), "output");
    check(LiteRtGetSignatureOutputTensorByIndex(signature, i, &tensor), names[i]);
    check(LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, i, &requirements),
          names[i]);
    outputs[i] = make_buffer(environment, tensor, requirements);
  }
  check(LiteRtRunCompiledModel(compiled, 0, 1, &input, 2, outputs), "run");
  return {{names[0], read_floats(outputs[0], names[0])},
          {names[1], read_floats(outputs[1], names[1])}};
}

int main(int count, char** arguments) {
  if (count != 4) fail("usage: predict MODEL.tflite IMAGE.pgm MASK.pgm");
  const std::string model = arguments[1];
  const Image image = read_pgm(arguments[2]);
  const auto labels = read_labels(model + ".json");

  auto outputs = run(model, resample::image(image.levels, image.size, kNetwork));
  const std::vector<float>& classes = outputs["class"];
  if (classes.size() != labels.size()) {
    fail(model + ".json has other labels than the model; give the model its own.");
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    std::cout << labels[i] << ' ' << classes[i] << '\n';
  }

  const auto lesion = resample::probability(outputs["mask"], kNetwork, image.size);
  Image mask{image.size, {}};
  for (float probability : lesion) mask.levels.push_back(probability > 0.5f ? 255 : 0);
  write_pgm(arguments[3], mask);
}
