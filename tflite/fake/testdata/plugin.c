// An accelerator that isn't one: a delegate plug-in for TensorFlow Lite 2.9 that takes operators and lets the library's own kernels run them,
// and then goes wrong as it is told. Options:
//
//   claim=N       how many operators it takes at most, from the first on; all without it
//   do=WHAT       wrong (other answers), slow, fail, hang or crash; nothing without it
//   at=WHERE      where: create, prepare or invoke, which it is without it
//   after=N       how many invokes of a net go well before
//   ms=N          how much slower an invoke is with do=slow
//   when=FILE     only once there is such a file
//   device, note  are taken and mean nothing
//
// Any other option is refused, as plug-ins do.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tensorflow/lite/c/common.h>

typedef struct {
	TfLiteDelegate delegate;
	char what[16], at[16], when[4096];
	int claim, after, milliseconds;
} fake;

// kernel is the operators that were taken, in a row.
typedef struct {
	fake* fake;
	int size, invokes;
	TfLiteNode* nodes;
	TfLiteRegistration* registrations;
	TfLiteIntArray* outputs;
} kernel;

static int now(const fake* f, const char* where) {
	return f->what[0] && strcmp(f->at, where) == 0 && (!f->when[0] || access(f->when, F_OK) == 0);
}

static void rest(int milliseconds) {
	struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
	nanosleep(&t, NULL);
}

static int* volatile nowhere;

// misbehave is true where the caller must fail.
static int misbehave(const fake* f, const char* where) {
	if (!now(f, where)) return 0;
	if (strcmp(f->what, "hang") == 0)
		for (;;) pause();
	if (strcmp(f->what, "crash") == 0) *nowhere = 1;
	if (strcmp(f->what, "slow") == 0) rest(f->milliseconds);
	return strcmp(f->what, "fail") == 0;
}

static TfLiteIntArray* array(int size) {
	TfLiteIntArray* a = malloc(sizeof *a + sizeof(int) * (size_t)size);
	if (!a) abort();
	a->size = size;
	return a;
}

static int has(const TfLiteIntArray* a, int value) {
	for (int i = 0; i < a->size; i++)
		if (a->data[i] == value) return 1;
	return 0;
}

static void* begin(TfLiteContext* context, const char* buffer, size_t length) {
	(void)length;
	const TfLiteDelegateParams* p = (const TfLiteDelegateParams*)buffer;
	kernel* k = calloc(1, sizeof *k);
	k->fake = (fake*)p->delegate;
	k->size = p->nodes_to_replace->size;
	k->nodes = calloc((size_t)k->size, sizeof *k->nodes);
	k->registrations = calloc((size_t)k->size, sizeof *k->registrations);
	k->outputs = array(p->output_tensors->size);
	memcpy(k->outputs->data, p->output_tensors->data, sizeof(int) * (size_t)k->outputs->size);
	for (int i = 0; i < k->size; i++) {
		TfLiteNode* node;
		TfLiteRegistration* registration;
		context->GetNodeAndRegistration(context, p->nodes_to_replace->data[i], &node, &registration);
		// Copies: the library moves its own when more operators are taken. It frees what it has in them, so that temporaries are made anew.
		k->nodes[i] = *node;
		k->nodes[i].temporaries = array(0);
		k->registrations[i] = *registration;
	}
	return k;
}

static void end(TfLiteContext* context, void* buffer) {
	(void)context;
	kernel* k = buffer;
	for (int i = 0; i < k->size; i++) free(k->nodes[i].temporaries);
	free(k->nodes);
	free(k->registrations);
	free(k->outputs);
	free(k);
}

static TfLiteStatus prepare(TfLiteContext* context, TfLiteNode* node) {
	kernel* k = node->user_data;
	int most = 0;
	for (int i = 0; i < k->size; i++) {
		if (k->registrations[i].prepare && k->registrations[i].prepare(context, &k->nodes[i]) != kTfLiteOk) return kTfLiteError;
		most += k->nodes[i].temporaries->size + k->nodes[i].outputs->size;
	}
	// The library gives memory to what it knows of: to the operators' scratch, and to what goes from one to the other.
	TfLiteIntArray* all = array(most);
	all->size = 0;
	for (int i = 0; i < k->size; i++) {
		const TfLiteIntArray* lists[] = {k->nodes[i].temporaries, k->nodes[i].outputs};
		for (int l = 0; l < 2; l++)
			for (int j = 0; j < lists[l]->size; j++) {
				int t = lists[l]->data[j];
				if (t >= 0 && !has(k->outputs, t) && !has(all, t)) all->data[all->size++] = t;
			}
	}
	free(node->temporaries);
	node->temporaries = all;
	return kTfLiteOk;
}

// spoil makes other answers of what the tensor holds.
static void spoil(TfLiteTensor* t) {
	if (t->type == kTfLiteFloat32) {
		for (size_t i = 0; i < t->bytes / sizeof(float); i++) t->data.f[i] = 3 - t->data.f[i];
		return;
	}
	for (size_t i = 0; i < t->bytes; i++) t->data.uint8[i] ^= 0x55;
}

static TfLiteStatus invoke(TfLiteContext* context, TfLiteNode* node) {
	kernel* k = node->user_data;
	int wrong = k->invokes++ >= k->fake->after;
	if (wrong && misbehave(k->fake, "invoke")) {
		context->ReportError(context, "the fake accelerator is gone");
		return kTfLiteError;
	}
	for (int i = 0; i < k->size; i++)
		if (k->registrations[i].invoke(context, &k->nodes[i]) != kTfLiteOk) return kTfLiteError;
	if (wrong && now(k->fake, "invoke") && strcmp(k->fake->what, "wrong") == 0)
		for (int i = 0; i < k->outputs->size; i++) spoil(&context->tensors[k->outputs->data[i]]);
	return kTfLiteOk;
}

static TfLiteStatus take(TfLiteContext* context, TfLiteDelegate* delegate) {
	fake* f = (fake*)delegate;
	if (misbehave(f, "prepare")) return kTfLiteError;
	TfLiteIntArray* plan;
	if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
	TfLiteIntArray* mine = array(f->claim < plan->size ? f->claim : plan->size);
	memcpy(mine->data, plan->data, sizeof(int) * (size_t)mine->size);
	TfLiteRegistration r = {.init = begin, .free = end, .prepare = prepare, .invoke = invoke, .custom_name = "fake", .version = 1};
	TfLiteStatus status = mine->size ? context->ReplaceNodeSubsetsWithDelegateKernels(context, r, mine, delegate) : kTfLiteOk;
	free(mine);
	return status;
}

TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t n, void (*report)(const char*)) {
	fake* f = calloc(1, sizeof *f);
	if (!f) return NULL;
	f->claim = 1 << 20;
	strcpy(f->at, "invoke");
	for (size_t i = 0; i < n; i++) {
		const char *key = keys[i], *value = values[i];
		if (strcmp(key, "claim") == 0) f->claim = atoi(value);
		else if (strcmp(key, "do") == 0) snprintf(f->what, sizeof f->what, "%s", value);
		else if (strcmp(key, "at") == 0) snprintf(f->at, sizeof f->at, "%s", value);
		else if (strcmp(key, "after") == 0) f->after = atoi(value);
		else if (strcmp(key, "ms") == 0) f->milliseconds = atoi(value);
		else if (strcmp(key, "when") == 0) snprintf(f->when, sizeof f->when, "%s", value);
		else if (strcmp(key, "device") != 0 && strcmp(key, "note") != 0) {
			char text[200];
			snprintf(text, sizeof text, "no option %.100s", key);
			if (report) report(text);
			free(f);
			return NULL;
		}
	}
	if (misbehave(f, "create")) {
		if (report) report("no fake accelerator is plugged in");
		free(f);
		return NULL;
	}
	f->delegate.Prepare = take;
	return &f->delegate;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) { free(delegate); }
