/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What all verbs have in common: the options, the connection, the ways to end. */

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "util.h"

#define ERRCTL_PROGRAM "zpci-errctl"

/*
 * How a program ends, and how all functions above floor 1 answer that may fail: whoever finds a
 * failure says it on standard error.
 */
enum {
        EXIT_DONE = 0,
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,     /* the command line is wrong */
        EXIT_NO_DAEMON = 3, /* it cannot be reached */
};

typedef enum JsonMode {
        JSON_OFF,
        JSON_SHORT,  /* one line an object */
        JSON_PRETTY, /* for people */
} JsonMode;

#define CONTEXT_OPTIONS_MAX 4U

typedef struct Context {
        JsonMode json;
        bool legend;      /* headings, and how many there are */
        bool pager;       /* if standard output is a terminal */
        bool colours;     /* likewise */
        unsigned columns; /* of the terminal; 0 if there is none */
        const char *host; /* [USER@]HOST, or NULL for this machine */
        sd_bus *bus;      /* NULL until client_open() */
        pid_t pager_pid;  /* 0 if there is none */
        pid_t agent_pid;  /* likewise */

        /* What the verb's own options were given: "" if they take no argument, NULL if not given. */
        const char *options[CONTEXT_OPTIONS_MAX];
        char *const *command; /* what is behind --, of a verb that runs it; ends with NULL */
} Context;

/* Says something on standard error, with the program's name in front and a line end behind. */
void say(const char *format, ...) _printf_(1, 2);

/* The same for what is wrong. Return the status that goes with it. */
int fail(const char *format, ...) _printf_(1, 2);
int fail_usage(const char *format, ...) _printf_(1, 2);
int fail_memory(void);
