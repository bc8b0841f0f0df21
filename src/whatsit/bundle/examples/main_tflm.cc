// Classify a picture by TensorFlow Lite Micro (https://github.com/tensorflow/tflite-micro).
//
// Put `whatsit_model.h` beside this file, and the library into the project: as the component `esp-tflite-micro` of ESP-IDF, as
// the Arduino library `Arduino_TensorFlowLite`, or built from its own sources. Then fill `read_picture` with what the camera
// gives.

#include <cstdint>
#include <cstdio>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"
#include "whatsit_model.h"

namespace {

alignas(16) uint8_t arena[WHATSIT_ARENA_SIZE];

// Writes a picture of WHATSIT_WIDTH x WHATSIT_HEIGHT pixels, each red, green and blue, as values of 0 to 255 less 128.
void read_picture(int8_t* values) {
  for (int place = 0; place < WHATSIT_WIDTH * WHATSIT_HEIGHT * WHATSIT_CHANNELS; ++place) {
    const int pixel = 127;  // a grey picture, in place of the camera's
    values[place] = static_cast<int8_t>(pixel + WHATSIT_INPUT_ZERO_POINT);
  }
}

}  // namespace

int main() {
  tflite::MicroMutableOpResolver<WHATSIT_OP_COUNT> resolver;
  WHATSIT_ADD_OPS(resolver);
  tflite::MicroInterpreter interpreter(tflite::GetModel(whatsit_model), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    std::printf("the arena is too small: raise WHATSIT_ARENA_SIZE\n");
    return 1;
  }
  read_picture(interpreter.input(0)->data.int8);
  if (interpreter.Invoke() != kTfLiteOk) return 1;
  const int8_t* values = interpreter.output(0)->data.int8;
  int best = 0;
  for (int place = 1; place < WHATSIT_CLASSES; ++place) {
    if (values[place] > values[best]) best = place;
  }
#ifdef WHATSIT_COSTS
  float least = 3.4e38f;
  for (int answer = 0; answer < WHATSIT_CLASSES; ++answer) {
    float cost = 0.0f;
    for (int truth = 0; truth < WHATSIT_CLASSES; ++truth) {
      cost += static_cast<float>(values[truth] - WHATSIT_OUTPUT_ZERO_POINT) * whatsit_costs[truth][answer];
    }
    if (cost < least) {
      least = cost;
      best = answer;
    }
  }
#endif
  const float probability = WHATSIT_OUTPUT_SCALE * static_cast<float>(values[best] - WHATSIT_OUTPUT_ZERO_POINT);
  std::printf("%s %.4f\n", whatsit_labels[best], static_cast<double>(probability));
  return 0;
}
