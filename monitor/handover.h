/* SPDX-License-Identifier: MIT */
/*
 * Whoever started the monitor may hold the keys of the guest's disks, and want to see the guest before it serves them: it
 * gives the monitor one end of a pair of SOCK_SEQPACKET sockets. The monitor sends 4 bytes, zeros, and beside them the
 * guest's file, by which anybody can have the hypervisor say what it measures as (include/bulkhead/device.h); on stock
 * KVM nothing beside them. The same 4 bytes come back when the disks are served.
 */
#ifndef BULKHEAD_MONITOR_HANDOVER_H
#define BULKHEAD_MONITOR_HANDOVER_H

/** Shows the sealed guest (-1: there is none to show) and waits. Returns 0; -ECANCELED: its disks will not be served. */
int handover_show(int socket, int guest_fd);

#endif
