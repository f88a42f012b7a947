"""The CPU time of another process: all of it, and how much of that was spent in user mode.

The kernel knows the total to the nanosecond. The division into user and system it only estimates, from where the
process is found at each clock tick: 250 times a second, say, which is too seldom to see a tenth of a microsecond a
request. So the process is sampled more often with a perf event, which counts the samples that hit user mode. Where that
is not allowed (kernel.perf_event_paranoid above 2, without root), the ticks have to do.
"""

import ctypes
import mmap
import os
import platform
import struct
import time
from dataclasses import dataclass

# Between two samples, in nanoseconds: more often costs the process itself more. No round number, so as not to run in
# step with anything.
PERIOD = 499_979

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
PERF_TYPE_SOFTWARE = 1
PERF_COUNT_SW_CPU_CLOCK = 0
EXCLUDE_KERNEL_AND_HYPERVISOR = 1 << 5 | 1 << 6
PERF_FLAG_FD_CLOEXEC = 8
ATTR_SIZE = 128
# A sample of no fields is a bare header; the page before the ring of samples says how far that was written.
SAMPLE_SIZE = 8
DATA_HEAD = 1024

# clock_gettime(2) takes a process id as well: these are the kinds of its clocks.
CLOCK_TICKS, CLOCK_USER_TICKS, CLOCK_TOTAL = 0, 1, 2


@dataclass(frozen=True)
class Reading:
    """Seconds so far: CPU in user mode, CPU in all, and ready to run but kept waiting for the core."""

    user: float
    total: float
    waited: float

    def __sub__(self, earlier: "Reading") -> "Reading":
        return Reading(self.user - earlier.user, self.total - earlier.total, self.waited - earlier.waited)


class Meter:
    """Reads the CPU time that a process has used since the meter was made."""

    def __init__(self, pid: int):
        self.pid = pid
        try:
            self.ring = open_sampler(pid)
        except OSError:
            self.ring = None
        self.first_ticks = self._clock(CLOCK_TICKS), self._clock(CLOCK_USER_TICKS)
        self.first_total = self._clock(CLOCK_TOTAL)

    @property
    def samples(self) -> bool:
        """Whether user mode is sampled, and not taken from clock ticks."""
        return self.ring is not None

    def read(self) -> Reading:
        total = self._clock(CLOCK_TOTAL) - self.first_total
        if self.ring:
            (head,) = struct.unpack_from("=Q", self.ring, DATA_HEAD)
            user = head // SAMPLE_SIZE * PERIOD / 1e9
        else:
            ticks = self._clock(CLOCK_TICKS) - self.first_ticks[0]
            user_ticks = self._clock(CLOCK_USER_TICKS) - self.first_ticks[1]
            user = total * user_ticks / ticks if ticks else 0.0
        with open(f"/proc/{self.pid}/schedstat", encoding="ascii") as file:
            waited = int(file.read().split()[1]) / 1e9
        return Reading(user, total, waited)

    def close(self) -> None:
        if self.ring:
            self.ring.close()

    def _clock(self, kind: int) -> float:
        return time.clock_gettime(~self.pid << 3 | kind)


def open_sampler(pid: int) -> mmap.mmap:
    """A ring that grows by a sample whenever the process is found in user mode."""
    number = PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise OSError("no perf events are known on this architecture")
    attr = bytearray(ATTR_SIZE)
    struct.pack_into("=IIQQ", attr, 0, PERF_TYPE_SOFTWARE, ATTR_SIZE, PERF_COUNT_SW_CPU_CLOCK, PERIOD)
    struct.pack_into("=Q", attr, 40, EXCLUDE_KERNEL_AND_HYPERVISOR)
    libc = ctypes.CDLL(None, use_errno=True)
    any_cpu = no_group = -1
    event = libc.syscall(
        number, (ctypes.c_char * ATTR_SIZE).from_buffer(attr), pid, any_cpu, no_group, PERF_FLAG_FD_CLOEXEC
    )
    if event < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        # Mapped read-only, the ring is overwritten when it is full, and its head goes on.
        return mmap.mmap(event, 2 * mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(event)
