// The float32 file from C++, through LiteRT's C API: docs/how-to/on-device.md says how to
// build and run it.
//
//   predict MODEL.tflite IMAGE.raw MASK.raw
//
// IMAGE.raw holds 256 x 256 grey bytes. Prints the probabilities of normal, benign and
// malignant and writes the probability of lesion as 256 x 256 floats.

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

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
int LiteRtLockTensorBuffer(Handle buffer, void** memory, int mode);
int LiteRtUnlockTensorBuffer(Handle buffer);
int LiteRtRunCompiledModel(Handle compiled, size_t signature, size_t inputs,
                           Handle* input, size_t outputs, Handle* output);
}

constexpr int kCpu = 1, kRead = 0, kWrite = 1;
constexpr size_t kPixels = 256 * 256;

void check(int status, const std::string& what) {
  if (status == 0) return;
  std::cerr << "error: " << what << " (LiteRT status " << status << ")\n";
  std::exit(2);
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

int main(int count, char** arguments) {
  if (count != 4) check(2, "usage: predict MODEL.tflite IMAGE.raw MASK.raw");
  std::vector<unsigned char> image(kPixels);
  std::ifstream file(arguments[2], std::ios::binary);
  file.read(reinterpret_cast<char*>(image.data()), kPixels);
  if (file.gcount() != kPixels) check(2, "IMAGE.raw must hold 256 x 256 bytes");

  Handle environment, model, options, compiled, signature, tensor, requirements;
  check(LiteRtCreateEnvironment(0, nullptr, &environment), "environment");
  check(LiteRtCreateModelFromFile(environment, arguments[1], &model), arguments[1]);
  check(LiteRtCreateOptions(&options), "options");
  check(LiteRtSetOptionsHardwareAccelerators(options, kCpu), "accelerator");
  check(LiteRtCreateCompiledModel(environment, model, options, &compiled), "compile");
  check(LiteRtGetModelSignature(model, 0, &signature), "signature");

  check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), "input");
  check(LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, 0, &requirements),
        "input");
  Handle input = make_buffer(environment, tensor, requirements);
  Handle outputs[2];
  size_t mask = 0;  // The outputs' order is not fixed; their names are.
  for (size_t i = 0; i < 2; ++i) {
    const char* name;
    check(LiteRtGetSignatureOutputName(signature, i, &name), "output");
    if (std::string(name) == "mask") mask = i;
    check(LiteRtGetSignatureOutputTensorByIndex(signature, i, &tensor), name);
    check(LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, i, &requirements),
          name);
    outputs[i] = make_buffer(environment, tensor, requirements);
  }

  void* memory;
  check(LiteRtLockTensorBuffer(input, &memory, kWrite), "image");
  for (size_t i = 0; i < kPixels; ++i) static_cast<float*>(memory)[i] = image[i];
  check(LiteRtUnlockTensorBuffer(input), "image");
  check(LiteRtRunCompiledModel(compiled, 0, 1, &input, 2, outputs), "run");

  check(LiteRtLockTensorBuffer(outputs[1 - mask], &memory, kRead), "class");
  for (int i = 0; i < 3; ++i) std::cout << static_cast<float*>(memory)[i] << '\n';
  check(LiteRtLockTensorBuffer(outputs[mask], &memory, kRead), "mask");
  std::ofstream out(arguments[3], std::ios::binary);
  out.write(static_cast<char*>(memory), kPixels * sizeof(float));
  return out ? 0 : 2;
}
