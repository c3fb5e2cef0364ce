/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Runs a command, a list that ends with NULL, in the foreground, and passes on the signals that
 * only we get: those of the terminal go to both. Returns its exit status, or 126 or 127 after a
 * message, as shells do, if it cannot be run. If it dies by a signal, so do we.
 */
int command_run(char *const command[]);
