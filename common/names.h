/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Every public name of the project. Scripts and monitors of users depend on these: adding one is
 * free, renaming one is not.
 */

#define ERRORD_PROGRAM "zpci-errord"
/* How libvirt's hook calls itself in the journal. */
#define ERRORD_HOOK_PROGRAM "zpci-errord-hook"

/* D-Bus */
#define ERRORD_BUS_NAME           "org.zpci.Errord1"
#define ERRORD_MANAGER_PATH       "/org/zpci/Errord1"
#define ERRORD_MANAGER_INTERFACE  "org.zpci.Errord1.Manager"
#define ERRORD_FUNCTION_PREFIX    "/org/zpci/Errord1/function"
#define ERRORD_FUNCTION_INTERFACE "org.zpci.Errord1.Function"
#define ERRORD_ERROR_PREFIX       "org.zpci.Errord1.Error."

#define ERRORD_ERROR_NO_FUNCTION      ERRORD_ERROR_PREFIX "NoSuchFunction"
#define ERRORD_ERROR_NOT_BOUND        ERRORD_ERROR_PREFIX "NotBound"
#define ERRORD_ERROR_BUSY             ERRORD_ERROR_PREFIX "Busy"
#define ERRORD_ERROR_INHIBITED        ERRORD_ERROR_PREFIX "Inhibited"
#define ERRORD_ERROR_NOT_SUPPORTED    ERRORD_ERROR_PREFIX "NotSupported"
#define ERRORD_ERROR_NOT_VFIO_DEVICE  ERRORD_ERROR_PREFIX "NotVfioDevice"
#define ERRORD_ERROR_ALREADY_ATTACHED ERRORD_ERROR_PREFIX "AlreadyAttached"
#define ERRORD_ERROR_PERMANENT        ERRORD_ERROR_PREFIX "Permanent"
#define ERRORD_ERROR_LIMIT_EXCEEDED   ERRORD_ERROR_PREFIX "LimitExceeded"

/* polkit, see dbus/org.zpci.Errord1.policy */
#define ERRORD_ACTION_CLAIM   ERRORD_BUS_NAME ".claim"
#define ERRORD_ACTION_RELEASE ERRORD_BUS_NAME ".release"
#define ERRORD_ACTION_RESET   ERRORD_BUS_NAME ".reset"
#define ERRORD_ACTION_ATTACH  ERRORD_BUS_NAME ".attach"
#define ERRORD_ACTION_INHIBIT ERRORD_BUS_NAME ".inhibit"

/* Kinds of journal entries, see systemd/zpci-errord.catalog. */
#define ERRORD_MESSAGE_ERROR_ID    "4518901db7e24c839a23d2f97d6f0741"
#define ERRORD_MESSAGE_LOST_ID     "3f123115aa4a48c79355ba18e274bd80"
#define ERRORD_MESSAGE_RECOVERY_ID "9ebe2948bde74ed0a60ab0a677d2866b"
#define ERRORD_MESSAGE_STATE_ID    "639dea0a44e24166a68b2edad4476a8a"
#define ERRORD_MESSAGE_APPEARED_ID "e4eadfac2a8e46fa93ee31d0c4f8d9f5"
#define ERRORD_MESSAGE_GONE_ID     "e762967c88df49a5a1e2a64aadd437f8"

/* Fields of journal entries. */
#define ERRORD_FIELD_ADDRESS         "ZPCI_ADDRESS"
#define ERRORD_FIELD_FID             "ZPCI_FID"
#define ERRORD_FIELD_UID             "ZPCI_UID"
#define ERRORD_FIELD_PCHID           "ZPCI_PCHID"
#define ERRORD_FIELD_FH              "ZPCI_FH"
#define ERRORD_FIELD_PEC             "ZPCI_PEC"
#define ERRORD_FIELD_PEC_NAME        "ZPCI_PEC_NAME"
#define ERRORD_FIELD_SEVERITY        "ZPCI_SEVERITY"
#define ERRORD_FIELD_FAILING_ADDRESS "ZPCI_FAILING_ADDRESS"
#define ERRORD_FIELD_DMAAS           "ZPCI_DMAAS"
#define ERRORD_FIELD_MVN             "ZPCI_MVN"
#define ERRORD_FIELD_RECORD          "ZPCI_RECORD"
#define ERRORD_FIELD_SOURCE          "ZPCI_SOURCE"
#define ERRORD_FIELD_SEQUENCE        "ZPCI_SEQUENCE"
#define ERRORD_FIELD_STREAM_ID       "ZPCI_STREAM_ID"
#define ERRORD_FIELD_POSITION        "ZPCI_POSITION"
#define ERRORD_FIELD_LOST            "ZPCI_LOST"
#define ERRORD_FIELD_STATE           "ZPCI_STATE"
#define ERRORD_FIELD_RECOVERY        "ZPCI_RECOVERY"
#define ERRORD_FIELD_HOLDER          "ZPCI_HOLDER"
#define ERRORD_FIELD_DEVICE          "DEVICE"

#define ERRORD_DOCUMENTATION "man:zpci-errord(8)"

/* udev property by which rules choose the policy of one function. */
#define ERRORD_UDEV_POLICY "ZPCI_ERRORD_POLICY"
