// A program that waits once, for eight seconds, with the call CALL (a macro, such as SYS_futex), and makes no other call
// but its exit: not even a C library's. It exits with 0 if the wait lasted as long as it should, otherwise with the
// number of the error. x86-64 alone, as the predefined profiles.
#include <errno.h>
#include <sys/syscall.h>

static long timeout[2] = {8, 0};
static int word;

static long call(long number, const void *a, long b, long c, const void *d) {
    register const void *fourth __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

void _start(void) {
    long result;
    switch (CALL) {
    case SYS_futex: // FUTEX_WAIT, which ends by its timeout
        result = call(SYS_futex, &word, 0, 0, timeout);
        result = result == -ETIMEDOUT ? 0 : result == 0 ? -EAGAIN : result;
        break;
    case SYS_poll:
        result = call(SYS_poll, 0, 0, 8000, 0);
        break;
    default:
        result = call(SYS_nanosleep, timeout, 0, 0, 0);
    }
    call(SYS_exit_group, (void *)-result, 0, 0, 0);
    for (;;)
        ;
}
