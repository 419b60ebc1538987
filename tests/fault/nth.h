/* What nth.c and nth_preload.c say to each other over a socket of datagrams: the first byte is one of these. */
#ifndef MOX_TESTS_FAULT_NTH_H
#define MOX_TESTS_FAULT_NTH_H

enum {
    NTH_FD = 'F',      /* with the listener of the filter */
    NTH_REFUSED = 'R', /* the system takes no such filter */
    NTH_END = 'E',     /* "E<allocations>", then " <bytes>:<who>" for each that was not given back */
    NTH_LINE = 4000,
};

#endif
