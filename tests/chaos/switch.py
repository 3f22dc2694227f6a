# SPDX-License-Identifier: MIT
"""Machines of their own for the programs: network namespaces, and the wire between them.

Each namespace has one TUN device whose other end is here, so every packet passes through this
process: links can be cut (both ways or one), slow or lossy, without any help of the kernel. Needs
root, iproute2 and /dev/net/tun.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500


class Link:
    """What happens to packets from one machine to another."""

    def __init__(self):
        self.cut = False
        self.delay = 0.0  # Seconds.
        self.loss = 0.0  # 0 … 1.


class Switch:
    """Namespaces for `names`, 10.77.0.1 and up, and a thread that carries their packets."""

    def __init__(self, prefix, names, seed):
        self.prefix = prefix
        self.names = list(names)
        self.random = random.Random(seed)
        self.links = {(a, b): Link() for a in names for b in names if a != b}
        self.fds = {}
        self.by_address = {}
        self.waiting = []  # (due, number, fd, packet)
        self.number = 0
        self.stopping = False
        self.wake_in, self.wake_out = os.pipe()
        for i, name in enumerate(self.names):
            self._make(name, i + 1)
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()

    def namespace(self, name):
        return f"{self.prefix}-{name}"

    def address(self, name):
        return f"10.77.0.{self.names.index(name) + 1}"

    def command(self, name, argv):
        """`argv` on the machine `name`: the process is the program itself."""
        return ["ip", "netns", "exec", self.namespace(name)] + list(argv)

    def between(self, a, b):
        return self.links[(a, b)]

    def heal(self):
        for link in self.links.values():
            link.cut, link.delay, link.loss = False, 0.0, 0.0

    def close(self):
        self.stopping = True
        os.write(self.wake_out, b"x")
        self.thread.join()
        for fd in [*self.fds.values(), self.wake_in, self.wake_out]:
            os.close(fd)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False)

    def _make(self, name, number):
        space, device = self.namespace(name), f"{self.prefix}{number}"
        subprocess.run(["ip", "netns", "add", space], check=True)
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF,
                    struct.pack("16sH14x", device.encode(), IFF_TUN | IFF_NO_PI))
        subprocess.run(["ip", "link", "set", device, "netns", space], check=True)
        for words in (["addr", "add", f"10.77.0.{number}/24", "dev", device],
                      ["link", "set", device, "mtu", str(MTU), "up"], ["link", "set", "lo", "up"]):
            subprocess.run(["ip", "-n", space] + words, check=True)
        self.fds[name] = fd
        self.by_address[bytes([10, 77, 0, number])] = name

    def _carry(self):
        poll = select.epoll()
        names = {fd: name for name, fd in self.fds.items()}
        for fd in [*names, self.wake_in]:
            poll.register(fd, select.EPOLLIN)
        while not self.stopping:
            timeout = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else 1.0
            for fd, _ in poll.poll(timeout):
                if fd in names:
                    self._drain(fd, names[fd])
            self._deliver()
        poll.close()

    def _drain(self, fd, source):
        for _ in range(256):
            try:
                packet = os.read(fd, MTU + 64)
            except BlockingIOError:
                return
            target = self.by_address.get(packet[16:20]) if packet[0] >> 4 == 4 else None
            if target is not None and target != source:
                self._forward(source, target, packet)

    def _forward(self, source, target, packet):
        link = self.links[(source, target)]
        if link.cut or (link.loss and self.random.random() < link.loss):
            return
        if link.delay:
            self.number += 1
            due = time.monotonic() + link.delay
            heapq.heappush(self.waiting, (due, self.number, self.fds[target], packet))
        else:
            self._write(self.fds[target], packet)

    def _deliver(self):
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            _, _, fd, packet = heapq.heappop(self.waiting)
            self._write(fd, packet)

    @staticmethod
    def _write(fd, packet):
        try:
            os.write(fd, packet)
        except OSError:
            pass  # Its queue is full: lost, as on any wire.
