// What trampoline.c gives to the Go side.
#ifndef LIVENESSD_TRAMPOLINE_H
#define LIVENESSD_TRAMPOLINE_H

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

// A delegate that takes nothing: when it is asked, it counts the steps that are left of the graph after those before it.
typedef struct livenessd_counter livenessd_counter;
livenessd_counter* livenessd_counter_create(void);
void* livenessd_counter_delegate(livenessd_counter* counter);
int livenessd_counter_steps(const livenessd_counter* counter); // −1: it wasn't asked
void livenessd_counter_delete(livenessd_counter* counter);

#endif
