/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "files.h"
#include "tree.h"

void tree_devpath(const SimFunction *f, char ret[static 128]) {
        snprintf(ret, 128, "/devices/pci%.7s/%s", f->address, f->address);
}

static void sys_path(const SimFunction *f, char ret[static 160], const char *name) {
        char devpath[128];

        tree_devpath(f, devpath);
        snprintf(ret, 160, "/sys%s%s%s", devpath, *name ? "/" : "", name);
}

bool tree_is_vfio(const char *driver) {
        return strstr(driver, "vfio") != NULL;
}

int tree_attribute(
        Sim *sim, const SimFunction *f, const char *name, const void *value, size_t size) {
        char path[160], full[PATH_MAX];

        sys_path(f, path, name);
        below(full, sim, "%s", path);
        if (value)
                return write_path(full, value, size);
        return unlink(full) < 0 && errno != ENOENT ? -errno : 0;
}

static __attribute__((__format__(printf, 4, 5))) int
attribute(Sim *sim, const SimFunction *f, const char *name, const char *format, ...) {
        char value[128];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(value, sizeof(value), format, ap);
        va_end(ap);
        return tree_attribute(sim, f, name, value, (size_t) n);
}

static int write_uevent(Sim *sim, const SimFunction *f) {
        return attribute(
                sim,
                f,
                "uevent",
                "%s%s%sPCI_CLASS=20000\nPCI_ID=15B3:1018\nPCI_SUBSYS_ID=15B3:0008\nPCI_SLOT_NAME=%s\n",
                *f->driver ? "DRIVER=" : "",
                f->driver,
                *f->driver ? "\n" : "",
                f->address);
}

static int add_zpci_attributes(Sim *sim, const SimFunction *f) {
        char path[PATH_MAX];

        (void) attribute(sim, f, "function_id", "0x%08x\n", f->fid);
        (void) attribute(sim, f, "function_handle", "0x%08x\n", f->fh);
        (void) attribute(sim, f, "pchid", "0x%04x\n", f->pchid);
        (void) attribute(sim, f, "pfgid", "0x%02x\n", f->pfgid);
        (void) attribute(sim, f, "vfn", "0x%04x\n", f->vfn);
        (void) attribute(sim, f, "pft", "0x%02x\n", f->pft);
        (void) attribute(sim, f, "port", "0\n");
        (void) attribute(sim, f, "uid", "0x%x\n", f->uid);
        (void) attribute(sim, f, "uid_is_unique", "1\n");
        (void) attribute(sim, f, "mio_enabled", "1\n");
        (void) attribute(sim, f, "recover", "%s", "");

        snprintf(path, sizeof(path), "/sys/bus/pci/slots/%08x", f->fid);
        (void) make_dir(sim, path);
        snprintf(path, sizeof(path), "/sys/bus/pci/slots/%08x/address", f->fid);
        (void) write_file(sim, path, "%.10s\n", f->address);
        snprintf(path, sizeof(path), "/sys/bus/pci/slots/%08x/power", f->fid);
        return write_file(sim, path, "1\n");
}

int tree_add(Sim *sim, SimFunction *f) {
        char device[160], from[256], to[256];
        int r;

        sys_path(f, device, "");
        r = make_dir(sim, device);
        if (r < 0)
                return r;
        (void) write_uevent(sim, f);
        (void) attribute(sim, f, "vendor", "0x15b3\n");
        (void) attribute(sim, f, "device", "0x1018\n");
        (void) attribute(sim, f, "class", "0x020000\n");
        (void) attribute(sim, f, "driver_override", "(null)\n");
        if (f->zpci)
                (void) add_zpci_attributes(sim, f);

        snprintf(from, sizeof(from), "%s/subsystem", device);
        (void) link_to(sim, from, "/sys/bus/pci");
        snprintf(from, sizeof(from), "/sys/bus/pci/devices/%s", f->address);
        (void) link_to(sim, from, device);
        snprintf(from, sizeof(from), "%s/iommu_group", device);
        snprintf(to, sizeof(to), "/sys/kernel/iommu_groups/%u", f->group);
        (void) link_to(sim, from, to);
        snprintf(
                from, sizeof(from), "/sys/kernel/iommu_groups/%u/devices/%s", f->group, f->address);
        r = link_to(sim, from, device);
        if (r < 0)
                return r;
        return tree_property(sim, f, NULL, NULL);
}

void tree_remove(Sim *sim, SimFunction *f) {
        char path[160];

        sys_path(f, path, "");
        remove_tree(sim, path);
        unlink_below(sim, "/sys/bus/pci/devices/%s", f->address);
        unlink_below(sim, "/run/udev/data/+pci:%s", f->address);
        snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%u", f->group);
        remove_tree(sim, path);
        snprintf(path, sizeof(path), "/sys/bus/pci/slots/%08x", f->fid);
        if (f->zpci)
                remove_tree(sim, path);
        tree_devpath(f, path);
        *strrchr(path, '/') = '\0';
        unlink_below(sim, "/sys%s", path); /* the bus goes with its last function */
}

static int bind_cdev(Sim *sim, SimFunction *f, unsigned mode) {
        char name[32], path[512], to[256], number[32];
        bool node = f->set.path & SIM_PATH_CDEV;
        int r;

        /* The device is in sysfs in any case; its number and node only with CONFIG_VFIO_DEVICE_CDEV. */
        snprintf(name, sizeof(name), "vfio%d", f->vfio_index);
        snprintf(number, sizeof(number), "%u:%d", SIM_CDEV_MAJOR, f->vfio_index);
        snprintf(path, sizeof(path), "vfio-dev/%s", name);
        sys_path(f, to, path);
        r = make_dir(sim, to);
        if (r < 0)
                return r;
        snprintf(path, sizeof(path), "%s/uevent", to);
        if (node)
                (void) write_file(sim,
                                  path,
                                  "MAJOR=%u\nMINOR=%d\nDEVNAME=vfio/devices/%s\n",
                                  SIM_CDEV_MAJOR,
                                  f->vfio_index,
                                  name);
        else
                (void) write_file(sim, path, "%s", "");
        snprintf(path, sizeof(path), "%s/subsystem", to);
        (void) link_to(sim, path, "/sys/class/vfio-dev");
        snprintf(path, sizeof(path), "/sys/class/vfio-dev/%s", name);
        r = link_to(sim, path, to);
        if (r < 0 || !node)
                return r;
        snprintf(path, sizeof(path), "/sys/dev/char/%s", number);
        r = link_to(sim, path, to);
        if (r < 0)
                return r;

        if (sim->state->iommu_ino == 0) {
                uint64_t tag = sim_node_size(SIM_NODE_IOMMU, 0);

                r = make_node(sim, "/dev/iommu", tag, mode, "10:263", &sim->state->iommu_ino);
                if (r < 0)
                        return r;
        }
        snprintf(path, sizeof(path), "%s/dev", to);
        (void) write_file(sim, path, "%s\n", number);
        snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
        return make_node(sim,
                         path,
                         sim_node_size(SIM_NODE_CDEV, sim_slot(sim, f)),
                         mode,
                         number,
                         f->ino + SIM_NODE_CDEV);
}

static int bind_group(Sim *sim, SimFunction *f, unsigned mode) {
        uint64_t tag = sim_node_size(SIM_NODE_GROUP, sim_slot(sim, f));
        char to[256], path[512], number[32];
        int r;

        snprintf(number, sizeof(number), "%u:%u", SIM_GROUP_MAJOR, f->group);
        snprintf(to, sizeof(to), "/sys/devices/virtual/vfio/%u", f->group);
        r = make_dir(sim, to);
        if (r < 0)
                return r;
        snprintf(path, sizeof(path), "%s/uevent", to);
        (void) write_file(sim,
                          path,
                          "MAJOR=%u\nMINOR=%u\nDEVNAME=vfio/%u\n",
                          SIM_GROUP_MAJOR,
                          f->group,
                          f->group);
        snprintf(path, sizeof(path), "%s/dev", to);
        (void) write_file(sim, path, "%s\n", number);
        snprintf(path, sizeof(path), "%s/subsystem", to);
        (void) link_to(sim, path, "/sys/class/vfio");
        snprintf(path, sizeof(path), "/sys/class/vfio/%u", f->group);
        (void) link_to(sim, path, to);
        snprintf(path, sizeof(path), "/sys/dev/char/%s", number);
        r = link_to(sim, path, to);
        if (r < 0)
                return r;

        if (sim->state->container_ino == 0) {
                uint64_t container = sim_node_size(SIM_NODE_CONTAINER, 0);

                r = make_node(sim,
                              "/dev/vfio/vfio",
                              container,
                              mode,
                              "10:196",
                              &sim->state->container_ino);
                if (r < 0)
                        return r;
        }
        snprintf(path, sizeof(path), "/sim/device/%u", sim_slot(sim, f));
        r = make_node(sim,
                      path,
                      sim_node_size(SIM_NODE_DEVICE, sim_slot(sim, f)),
                      mode,
                      NULL,
                      f->ino + SIM_NODE_DEVICE);
        if (r < 0)
                return r;
        snprintf(path, sizeof(path), "/dev/vfio/%u", f->group);
        return make_node(sim, path, tag, mode, number, f->ino + SIM_NODE_GROUP);
}

int tree_bind(Sim *sim, SimFunction *f, bool world) {
        unsigned mode = world ? 0666 : 0600;
        char device[160], path[256], to[256];
        int r;

        sys_path(f, device, "");
        snprintf(path, sizeof(path), "%s/driver", device);
        snprintf(to, sizeof(to), "/sys/bus/pci/drivers/%s", f->driver);
        r = make_dir(sim, to);
        if (r < 0)
                return r;
        (void) link_to(sim, path, to);
        snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/%s", f->driver, f->address);
        (void) link_to(sim, path, device);
        (void) write_uevent(sim, f);
        if (!tree_is_vfio(f->driver))
                return 0;

        r = bind_cdev(sim, f, mode);
        if (r >= 0 && (f->set.path & SIM_PATH_GROUP))
                r = bind_group(sim, f, mode);
        return r;
}

void tree_unregister(Sim *sim, SimFunction *f) {
        char path[160];

        sys_path(f, path, "vfio-dev");
        remove_tree(sim, path);
        unlink_below(sim, "/sys/class/vfio-dev/vfio%d", f->vfio_index);
        unlink_below(sim, "/sys/dev/char/%u:%d", SIM_CDEV_MAJOR, f->vfio_index);
        unlink_below(sim, "/dev/vfio/devices/vfio%d", f->vfio_index);
        unlink_below(sim, "/dev/.node/vfio_devices_vfio%d", f->vfio_index);
        snprintf(path, sizeof(path), "/sys/devices/virtual/vfio/%u", f->group);
        remove_tree(sim, path);
        unlink_below(sim, "/sys/class/vfio/%u", f->group);
        unlink_below(sim, "/sys/dev/char/%u:%u", SIM_GROUP_MAJOR, f->group);
        unlink_below(sim, "/dev/vfio/%u", f->group);
        unlink_below(sim, "/dev/.node/vfio_%u", f->group);
        unlink_below(sim, "/sim/device/%u", sim_slot(sim, f));
}

void tree_unbind(Sim *sim, SimFunction *f) {
        char path[160];

        sys_path(f, path, "driver");
        unlink_below(sim, "%s", path);
        unlink_below(sim, "/sys/bus/pci/drivers/%s/%s", f->driver, f->address);
        *f->driver = '\0';
        (void) write_uevent(sim, f);
}

int tree_init(Sim *sim, bool world, bool kmsg) {
        static const char *const dirs[] = {
                "/sys/bus/pci/devices",
                "/sys/bus/pci/drivers/vfio-pci",
                "/sys/bus/pci/slots",
                "/sys/class/vfio",
                "/sys/class/vfio-dev",
                "/sys/kernel/iommu_groups",
                "/sys/dev/char",
                "/dev/.node",
                "/dev/vfio",
                "/run/udev/data",
                "/monitors",
                "/sim/device",
        };
        char path[PATH_MAX];
        struct stat st;
        int r = 0;

        for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs) && r == 0; i++)
                r = make_dir(sim, dirs[i]);
        if (r < 0)
                return r;
        /* umockdev's library makes the monitors' sockets, ours renames them */
        if (chmod(sim->dir, world ? 0777 : 0700) < 0 ||
            chmod(below(path, sim, "/monitors"), world ? 0777 : 0700) < 0)
                return -errno;
        if (stat(sim->dir, &st) < 0)
                return -errno;
        sim->state->dev_major = major(st.st_dev);
        sim->state->dev_minor = minor(st.st_dev);
        return kmsg ? make_node(sim, "/dev/kmsg", 0, world ? 0666 : 0600, "1:11", NULL) : 0;
}
