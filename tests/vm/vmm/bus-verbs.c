/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "names.h"
#include "player.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sd_bus *player_bus(Player *player) {
        int r;

        if (player->bus)
                return player->bus;
        r = sd_bus_open_system(&player->bus);
        if (r >= 0)
                r = sd_bus_attach_event(player->bus, player->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                errx(1, "system bus: %s", strerror(-r));
        return player->bus;
}

/* Puts a call together, has it answered, and answers itself if it failed. Returns the reply, or NULL. */
static sd_bus_message *call(Player *player,
                            const char *object,
                            const char *interface,
                            const char *member,
                            const char *types,
                            ...) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        va_list arguments;
        int r;

        va_start(arguments, types);
        r = sd_bus_call_methodv(player_bus(player),
                                ERRORD_BUS_NAME,
                                object,
                                interface,
                                member,
                                &error,
                                &reply,
                                types,
                                arguments);
        va_end(arguments);
        if (r < 0)
                answer_bus_error(player, r, &error);
        sd_bus_error_free(&error);
        return reply;
}

static void check_parsed(int r, const char *member) {
        if (r < 0)
                errx(1, "reply of %s: %s", member, strerror(-r));
}

/* For a call whose reply says nothing but that it worked. */
static void answer_done(Player *player, sd_bus_message *reply) {
        if (reply)
                answer(player, "done");
        sd_bus_message_unref(reply);
}

void verb_inhibit(Player *player, char **words) {
        sd_bus_message *reply = call(player,
                                     ERRORD_MANAGER_PATH,
                                     ERRORD_MANAGER_INTERFACE,
                                     "Inhibit",
                                     "asss",
                                     1,
                                     words[0],
                                     words[1],
                                     "test");
        int fd;

        if (!reply)
                return;
        check_parsed(sd_bus_message_read(reply, "h", &fd), "Inhibit");
        if (player->inhibitor >= 0)
                close(player->inhibitor);
        player->inhibitor = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (player->inhibitor < 0)
                err(1, "inhibitor");
        sd_bus_message_unref(reply);
        answer(player, "inhibited");
}

void verb_uninhibit(Player *player, char **words) {
        if (player->inhibitor >= 0)
                close(player->inhibitor);
        player->inhibitor = -1;
        answer(player, "closed");
}

void verb_attach(Player *player, char **words) {
        bool notify = strcmp(words[0], "notify") == 0;
        sd_bus_message *reply;
        const char *object;

        if (notify) {
                signal_close(&player->notify);
                signal_open(player, &player->notify);
                reply = call(player,
                             ERRORD_MANAGER_PATH,
                             ERRORD_MANAGER_INTERFACE,
                             "Attach",
                             "ha{sv}",
                             player->device.fd,
                             2,
                             "Request",
                             "h",
                             player->request.fd,
                             "Notify",
                             "h",
                             player->notify.fd);
        } else
                reply = call(player,
                             ERRORD_MANAGER_PATH,
                             ERRORD_MANAGER_INTERFACE,
                             "Attach",
                             "ha{sv}",
                             player->device.fd,
                             1,
                             "Request",
                             "h",
                             player->request.fd);
        if (!reply)
                return;
        check_parsed(sd_bus_message_read(reply, "o", &object), "Attach");
        answer(player, "%s", object);
        sd_bus_message_unref(reply);
}

void verb_detach(Player *player, char **words) {
        answer_done(player,
                    call(player,
                         ERRORD_MANAGER_PATH,
                         ERRORD_MANAGER_INTERFACE,
                         "Detach",
                         "o",
                         words[0]));
}

void verb_claim(Player *player, char **words) {
        answer_done(player, call(player, words[0], ERRORD_FUNCTION_INTERFACE, "Claim", NULL));
}

void verb_recover(Player *player, char **words) {
        answer_done(player, call(player, words[0], ERRORD_FUNCTION_INTERFACE, "Reset", NULL));
}

void verb_release(Player *player, char **words) {
        answer_done(player,
                    call(player,
                         words[0],
                         ERRORD_FUNCTION_INTERFACE,
                         "Release",
                         "ta{sv}",
                         strtoull(words[1], NULL, 10),
                         1,
                         "who",
                         "s",
                         words[2]));
}

/* Reads the next property of the reply into value if it is one of ours. Returns 0 at the end. */
static int read_property(sd_bus_message *reply, const char *const *names, const char **values) {
        const char *name;
        int r = sd_bus_message_enter_container(reply, 'e', "sv");

        if (r <= 0)
                return r;
        r = sd_bus_message_read(reply, "s", &name);
        if (r < 0)
                return r;
        while (*names && strcmp(*names, name) != 0) {
                names++;
                values++;
        }
        r = *names ? sd_bus_message_read(reply, "v", "s", values) : sd_bus_message_skip(reply, "v");
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(reply);
}

void verb_state(Player *player, char **words) {
        static const char *const names[] = { "State", "StateReason", "Recovery", "Holder", NULL };
        const char *values[] = { "", "", "", "" };
        sd_bus_message *reply = call(player,
                                     words[0],
                                     "org.freedesktop.DBus.Properties",
                                     "GetAll",
                                     "s",
                                     ERRORD_FUNCTION_INTERFACE);
        int r;

        if (!reply)
                return;
        check_parsed(sd_bus_message_enter_container(reply, 'a', "{sv}"), "GetAll");
        while ((r = read_property(reply, names, values)) > 0)
                ;
        check_parsed(r, "GetAll");
        for (int i = 0; i < 4; i++)
                if (values[i][0] == '\0')
                        values[i] = "-";
        answer(player, "%s %s %s %s", values[0], values[1], values[2], values[3]);
        sd_bus_message_unref(reply);
}
