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
#include <pthread.h>
#include <stdbool.h>
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

struct livenessd_witness {
	TfLiteDelegate delegate;
	TfLiteDelegate* inner;
	int steps, taken;
};

static TfLiteStatus witness(TfLiteContext* context, TfLiteDelegate* delegate) {
	livenessd_witness* w = delegate->data_;
	if (w->inner) {
		TfLiteStatus status = w->inner->Prepare(context, w->inner);
		if (status != kTfLiteOk) return status;
	}
	TfLiteIntArray* plan = NULL;
	if (context->GetExecutionPlan(context, &plan) != kTfLiteOk || !plan) return kTfLiteError;
	w->steps = plan->size;
	w->taken = 0;
	for (int i = 0; i < w->steps; i++) {
		TfLiteNode* node = NULL;
		TfLiteRegistration* registration = NULL;
		if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != kTfLiteOk || !node) return kTfLiteError;
		if (node->delegate) w->taken++;
	}
	return kTfLiteOk;
}

livenessd_witness* livenessd_witness_create(void* delegate) {
	livenessd_witness* w = calloc(1, sizeof *w);
	if (!w) return NULL;
	w->inner = delegate;
	w->delegate.data_ = w;
	w->delegate.Prepare = witness;
	if (w->inner) w->delegate.flags = w->inner->flags;
	w->steps = w->taken = -1;
	return w;
}

void* livenessd_witness_delegate(livenessd_witness* w) { return &w->delegate; }

int livenessd_witness_steps(const livenessd_witness* w) { return w->steps; }

int livenessd_witness_taken(const livenessd_witness* w) { return w->taken; }

void livenessd_witness_delete(livenessd_witness* w) { free(w); }

typedef TfLiteDelegate* (*plugin_create)(char** keys, char** values, size_t n, void (*report)(const char*));
typedef void (*plugin_destroy)(TfLiteDelegate*);

char* livenessd_plugin_load(const char* path, livenessd_plugin* plugin) {
	void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) return message("%s", dlerror());
	plugin->create = dlsym(library, "tflite_plugin_create_delegate");
	*(void**)&plugin->destroy = dlsym(library, "tflite_plugin_destroy_delegate");
	if (plugin->create && plugin->destroy) return NULL;
	// It stays loaded: what its constructors began needn't bear to be unloaded.
	return message("it is no plug-in for TensorFlow Lite: it has no function %s",
		plugin->create ? "tflite_plugin_destroy_delegate" : "tflite_plugin_create_delegate");
}

// What a plug-in says comes without a word from whom, so that one is heard at a time; it may come late, and from any thread.
static struct {
	pthread_mutex_t mutex;
	bool listening;
	size_t length;
	char text[1024];
} said = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void report(const char* text) {
	if (!text) return;
	pthread_mutex_lock(&said.mutex);
	if (said.listening) {
		int n = snprintf(said.text + said.length, sizeof said.text - said.length, "%s%s", said.length ? "; " : "", text);
		if (n > 0) said.length += (size_t)n;
		if (said.length >= sizeof said.text) said.length = sizeof said.text - 1;
	}
	pthread_mutex_unlock(&said.mutex);
}

static void hear(bool on, char** heard) {
	pthread_mutex_lock(&said.mutex);
	if (heard && said.length) *heard = message("%s", said.text);
	said.listening = on;
	said.length = 0;
	said.text[0] = 0;
	pthread_mutex_unlock(&said.mutex);
}

void* livenessd_plugin_create(const livenessd_plugin* plugin, char** keys, char** values, size_t n, char** heard) {
	*heard = NULL;
	hear(true, NULL);
	void* delegate = ((plugin_create)plugin->create)(keys, values, n, report);
	hear(false, heard);
	return delegate;
}

void livenessd_plugin_destroy(const livenessd_plugin* plugin, void* delegate) {
	if (delegate) ((plugin_destroy)plugin->destroy)(delegate);
}

char* livenessd_nnapi_missing(void) {
	if (!table.TfLiteInterpreterOptionsSetUseNNAPI) return message("the TensorFlow Lite library has no %s", "NNAPI");
	void* library = dlopen("libneuralnetworks.so", RTLD_NOW | RTLD_LOCAL);
	if (!library) return message("%s", dlerror());
	return NULL; // the library opens it again
}
