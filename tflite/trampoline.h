// What trampoline.c gives to the Go side.
#ifndef LIVENESSD_TRAMPOLINE_H
#define LIVENESSD_TRAMPOLINE_H

#include <stddef.h>
#include <stdint.h>

// livenessd_tflite_load opens the library at path and fills the table that the TfLite* functions jump through. It returns
// NULL, or what is wrong, to be freed. Once it returned NULL it must not be called again.
char* livenessd_tflite_load(const char* path);

// XNNPACK's options as they are laid out in TensorFlow Lite 2.9. Later versions have more members.
typedef struct {
	int32_t threads;
	uint32_t flags;
} livenessd_xnnpack_options;

enum { LIVENESSD_XNNPACK_INT8 = 1, LIVENESSD_XNNPACK_UINT8 = 2 };

// Both are NULL-safe: a library without XNNPACK gives NULL.
void* livenessd_xnnpack_create(int32_t threads);
void livenessd_xnnpack_delete(void* delegate);

// A witness stands before a delegate, lets that take its part of the graph, and counts. Without one (NULL) it takes nothing itself and
// counts what there is after those before it.
typedef struct livenessd_witness livenessd_witness;
livenessd_witness* livenessd_witness_create(void* delegate);
void* livenessd_witness_delegate(livenessd_witness* witness);
int livenessd_witness_steps(const livenessd_witness* witness); // of a call; −1: it wasn't asked
int livenessd_witness_taken(const livenessd_witness* witness); // of these, those that a delegate runs
void livenessd_witness_delete(livenessd_witness* witness);     // not the delegate

// A plug-in with a delegate: what TensorFlow Lite's external delegates export.
typedef struct {
	void* create;
	void (*destroy)(void* delegate);
} livenessd_plugin;

// livenessd_plugin_load opens the plug-in at path, which stays loaded. It returns NULL, or what is wrong, to be freed.
char* livenessd_plugin_load(const char* path, livenessd_plugin* plugin);
// livenessd_plugin_create makes a delegate, one caller at a time. said is what the plug-in reported meanwhile, to be freed, or NULL.
void* livenessd_plugin_create(const livenessd_plugin* plugin, char** keys, char** values, size_t n, char** said);
void livenessd_plugin_destroy(const livenessd_plugin* plugin, void* delegate);

// livenessd_nnapi_missing returns NULL where NNAPI can be asked for, or what is wrong, to be freed.
char* livenessd_nnapi_missing(void);

#endif
