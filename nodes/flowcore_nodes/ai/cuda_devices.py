"""How many CUDA devices there are, asked of the driver itself: no engine's library has to be there for it."""

import ctypes


def device_count() -> int:
    """Devices that CUDA shows this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
