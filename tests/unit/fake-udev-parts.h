/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the two parts of the fake share: the devices that a test makes, and libudev's view of them. */

#include <stdbool.h>
#include <stddef.h>

#include "fake-udev.h"

#define N_DEVICES 600U
#define N_EVENTS  600U
#define N_VALUES  12U

typedef struct Value {
        char name[32];
        char *text; /* NULL: error */
        int error;
} Value;

struct udev_device {
        char subsystem[16];
        char devpath[128];
        char syspath[192];
        char driver[128];
        Value attributes[N_VALUES];
        Value properties[N_VALUES];
        int vanished;
        int driver_error;
};

typedef struct Event {
        struct udev_device *device; /* NULL: error */
        int error;
} Event;

typedef struct Fake {
        char root[32];
        struct udev_device *devices[N_DEVICES];
        size_t n_devices;
        Event events[N_EVENTS];
        size_t first_event, n_events;
        int fd; /* counts the events */
        unsigned handed_out;
        unsigned fail_call;
        int fail_error;
} Fake;

extern Fake fake;

/* Whether this call is the one that is to fail; then errno is set. */
bool fake_fails(void);
/* Zeroed memory that counts as handed out until it is taken back; NULL if that is to fail. */
void *fake_hand_out(size_t size);
void fake_take_back(void *object);
struct udev_device *device_copy(const struct udev_device *from); /* handed out */
void device_free(struct udev_device *device);
/* NULL and errno if there is none. */
const char *value_get(const Value *values, const char *name);
