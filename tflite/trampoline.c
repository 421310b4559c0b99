//go:build cgo && linux

// The TfLite* functions that go-tflite and this package call, each a jump through a table that dlopen and dlsym fill.
//
// go-tflite links with -ltensorflowlite_c. The empty archive in link/ satisfies that flag and these functions the symbols, so
// that no library is needed to build or to start, and a missing one is an error that a program can explain. They are hidden:
// the library must find its own functions by these names, not ours.

#define _GNU_SOURCE
#define TFL_STATIC_LIBRARY_BUILD // else the headers declare everything visible
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include <tensorflow/lite/c/c_api.h>
#include <tensorflow/lite/c/c_api_experimental.h>

#include "trampoline.h"

#define HIDDEN __attribute__((visibility("hidden")))

// X(result, name, parameters, arguments)
#define NEEDED(X) \
	X(const char*, TfLiteVersion, (void), ()) \
	X(TfLiteModel*, TfLiteModelCreate, (const void* data, size_t size), (data, size)) \
	X(void, TfLiteModelDelete, (TfLiteModel* model), (model)) \
	X(TfLiteInterpreterOptions*, TfLiteInterpreterOptionsCreate, (void), ()) \
	X(void, TfLiteInterpreterOptionsDelete, (TfLiteInterpreterOptions* options), (options)) \
	X(void, TfLiteInterpreterOptionsSetNumThreads, (TfLiteInterpreterOptions* options, int32_t n), (options, n)) \
	X(void, TfLiteInterpreterOptionsAddDelegate, (TfLiteInterpreterOptions* options, TfLiteDelegate* delegate), (options, delegate)) \
	X(TfLiteInterpreter*, TfLiteInterpreterCreate, (const TfLiteModel* model, const TfLiteInterpreterOptions* options), (model, options)) \
	X(void, TfLiteInterpreterDelete, (TfLiteInterpreter* interpreter), (interpreter)) \
	X(int32_t, TfLiteInterpreterGetInputTensorCount, (const TfLiteInterpreter* interpreter), (interpreter)) \
	X(TfLiteTensor*, TfLiteInterpreterGetInputTensor, (const TfLiteInterpreter* interpreter, int32_t i), (interpreter, i)) \
	X(TfLiteStatus, TfLiteInterpreterAllocateTensors, (TfLiteInterpreter* interpreter), (interpreter)) \
	X(TfLiteStatus, TfLiteInterpreterInvoke, (TfLiteInterpreter* interpreter), (interpreter)) \
	X(int32_t, TfLiteInterpreterGetOutputTensorCount, (const TfLiteInterpreter* interpreter), (interpreter)) \
	X(const TfLiteTensor*, TfLiteInterpreterGetOutputTensor, (const TfLiteInterpreter* interpreter, int32_t i), (interpreter, i)) \
	X(TfLiteType, TfLiteTensorType, (const TfLiteTensor* tensor), (tensor)) \
	X(int32_t, TfLiteTensorNumDims, (const TfLiteTensor* tensor), (tensor)) \
	X(int32_t, TfLiteTensorDim, (const TfLiteTensor* tensor, int32_t i), (tensor, i)) \
	X(size_t, TfLiteTensorByteSize, (const TfLiteTensor* tensor), (tensor)) \
	X(void*, TfLiteTensorData, (const TfLiteTensor* tensor), (tensor)) \
	X(const char*, TfLiteTensorName, (const TfLiteTensor* tensor), (tensor)) \
	X(TfLiteQuantizationParams, TfLiteTensorQuantizationParams, (const TfLiteTensor* tensor), (tensor)) \
	X(TfLiteStatus, TfLiteTensorCopyFromBuffer, (TfLiteTensor* tensor, const void* data, size_t size), (tensor, data, size)) \
	X(TfLiteStatus, TfLiteTensorCopyToBuffer, (const TfLiteTensor* tensor, void* data, size_t size), (tensor, data, size))

// go-tflite mentions these, and nothing here calls them.
#define UNUSED(X) \
	X(TfLiteModel*, TfLiteModelCreateFromFile, (const char* path), (path)) \
	X(void, TfLiteInterpreterOptionsSetErrorReporter, \
		(TfLiteInterpreterOptions* options, void (*reporter)(void*, const char*, va_list), void* data), (options, reporter, data)) \
	X(TfLiteStatus, TfLiteInterpreterResizeInputTensor, \
		(TfLiteInterpreter* interpreter, int32_t i, const int* dims, int32_t n), (interpreter, i, dims, n)) \
	X(TfLiteStatus, TfLiteInterpreterResetVariableTensors, (TfLiteInterpreter* interpreter), (interpreter)) \
	X(void, TfLiteInterpreterOptionsAddBuiltinOp, (TfLiteInterpreterOptions* options, TfLiteBuiltinOperator op, \
		const TfLiteRegistration* registration, int32_t least, int32_t most), (options, op, registration, least, most)) \
	X(void, TfLiteInterpreterOptionsAddCustomOp, (TfLiteInterpreterOptions* options, const char* name, \
		const TfLiteRegistration* registration, int32_t least, int32_t most), (options, name, registration, least, most)) \
	X(void, TfLiteInterpreterOptionsSetUseNNAPI, (TfLiteInterpreterOptions* options, bool enable), (options, enable))

#define MEMBER(result, name, parameters, arguments) result (*name) parameters;
static struct {
	NEEDED(MEMBER)
	UNUSED(MEMBER)
	void* (*xnnpack_create)(const livenessd_xnnpack_options*);
	void (*xnnpack_delete)(void*);
} table;

// The Go side calls nothing before a library was loaded, so this is a programming error.
static void absent(const char* name) {
	fprintf(stderr, "livenessd: %s was called, which no loaded TensorFlow Lite library has\n", name);
	abort();
}

#define TRAMPOLINE(result, name, parameters, arguments) \
	HIDDEN result name parameters { \
		if (!table.name) absent(#name); \
		return table.name arguments; \
	}
NEEDED(TRAMPOLINE)
UNUSED(TRAMPOLINE)

static char* message(const char* format, const char* argument) {
	char* text = NULL;
	if (asprintf(&text, format, argument) < 0) abort();
	return text;
}

// share_memory lets all threads allocate from what there is. Nets are opened and closed by whatever threads Go has, and glibc would give
// each an arena of its own, whose freed memory the others never use: a daemon that reads its configuration again would grow by that. It
// comes before Go starts, whose first threads already have arenas when a library is loaded.
__attribute__((constructor)) static void share_memory(void) {
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 1);
#endif
}

char* livenessd_tflite_load(const char* path) {
	void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) return message("%s", dlerror());
	char* problem = NULL;
#define FIND(result, name, parameters, arguments) \
	*(void**)&table.name = dlsym(library, #name); \
	if (!table.name && !problem) problem = message("it has no function %s", #name);
	NEEDED(FIND)
	if (problem) {
		dlclose(library);
		return problem;
	}
#define LOOK(result, name, parameters, arguments) *(void**)&table.name = dlsym(library, #name);
	UNUSED(LOOK)
	*(void**)&table.xnnpack_create = dlsym(library, "TfLiteXNNPackDelegateCreate");
	*(void**)&table.xnnpack_delete = dlsym(library, "TfLiteXNNPackDelegateDelete");
	return NULL;
}

void* livenessd_xnnpack_create(int32_t threads) {
	livenessd_xnnpack_options o = {threads, LIVENESSD_XNNPACK_INT8 | LIVENESSD_XNNPACK_UINT8};
	if (!table.xnnpack_create || !table.xnnpack_delete) return NULL;
	return table.xnnpack_create(&o);
}

void livenessd_xnnpack_delete(void* delegate) {
	if (delegate && table.xnnpack_delete) table.xnnpack_delete(delegate);
}

struct livenessd_counter {
	TfLiteDelegate delegate;
	int steps;
};

static TfLiteStatus count(TfLiteContext* context, TfLiteDelegate* delegate) {
	TfLiteIntArray* plan = NULL;
	if (context->GetExecutionPlan(context, &plan) != kTfLiteOk || !plan) return kTfLiteError;
	((livenessd_counter*)delegate->data_)->steps = plan->size;
	return kTfLiteOk;
}

livenessd_counter* livenessd_counter_create(void) {
	livenessd_counter* counter = calloc(1, sizeof *counter);
	if (!counter) return NULL;
	counter->delegate.data_ = counter;
	counter->delegate.Prepare = count;
	counter->steps = -1;
	return counter;
}

void* livenessd_counter_delegate(livenessd_counter* counter) { return &counter->delegate; }

int livenessd_counter_steps(const livenessd_counter* counter) { return counter->steps; }

void livenessd_counter_delete(livenessd_counter* counter) { free(counter); }
