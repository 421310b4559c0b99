/* The part of TensorFlow Lite's experimental C interface that go-tflite is compiled against; the npm package that brings
 * the library brings every header but this one. */
#ifndef LIVENESSD_TFLITE_C_API_EXPERIMENTAL_H
#define LIVENESSD_TFLITE_C_API_EXPERIMENTAL_H

#include <stdbool.h>
#include <tensorflow/lite/c/c_api.h>
#include <tensorflow/lite/c/common.h>

typedef int TfLiteBuiltinOperator;

TfLiteStatus TfLiteInterpreterResetVariableTensors(TfLiteInterpreter* interpreter);
void TfLiteInterpreterOptionsAddBuiltinOp(TfLiteInterpreterOptions* options, TfLiteBuiltinOperator op,
		const TfLiteRegistration* registration, int32_t min_version, int32_t max_version);
void TfLiteInterpreterOptionsAddCustomOp(TfLiteInterpreterOptions* options, const char* name,
		const TfLiteRegistration* registration, int32_t min_version, int32_t max_version);
void TfLiteInterpreterOptionsSetUseNNAPI(TfLiteInterpreterOptions* options, bool enable);

#endif
