/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Between the line protocol and its commands. */

#include <stdio.h>

#include "controller.h"

typedef struct Connection Connection;

/* What a command that cannot answer yet waits for. */
typedef enum WaitKind {
        WAIT_UNBIND,
        WAIT_REMOVE,
        WAIT_STATE,
} WaitKind;

/* A command gets the rest of its line in words. It writes "ok ..." to 'out' itself and returns 0; or it
 * returns a negative errno, perhaps after it wrote a text that explains it; or COMMAND_WAITS, after command_wait(). */
#define COMMAND_WAITS 1
typedef int (*CommandFunc)(
        Controller *c, Connection *conn, char **words, unsigned n_words, FILE *out);

typedef struct Command {
        const char *name;
        const char *usage;
        unsigned min_words;
        CommandFunc func;
} Command;

/* The tables of commands, each ended by an entry without a name. */
extern const Command function_commands[];
extern const Command error_commands[];
extern const Command state_commands[];

/* Puts the answer off. 'condition' (WAIT_STATE) is of the form of the command "wait". */
int command_wait(Connection *conn,
                 WaitKind kind,
                 const SimFunction *f,
                 const char *condition,
                 uint64_t timeout_ms);

/* The function of this address, or NULL after it wrote that there is none. */
SimFunction *command_function(Controller *c, const char *address, FILE *out);

/* Everything of the word list from 'words' on as one string again. */
char *command_rest(char **words, unsigned n_words);

/* Parses a number with or without 0x. */
int parse_number(const char *text, uint64_t max, uint64_t *ret);

/* Parses "KEY=VALUE" of a function's settings. -ENOENT if there is no such key. */
int settings_parse(SimSettings *set, const char *key, const char *value);
SimSettings settings_default(void);

/* Writes the state of the function as one line of JSON. */
void state_write(Controller *c, SimFunction *f, FILE *out);

/* Whether "KEY=VALUE[,KEY>=VALUE]..." holds. Negative errno if it makes no sense. */
int state_matches(Controller *c, SimFunction *f, const char *condition);
