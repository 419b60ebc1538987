/* The emulator as the tests' device (device.h): three orders of lanes, two poisons, and the tensor core's shapes of
 * sm_75 in every second mode. Work is done as late as possible. */
#include "cuda/device.h"

#include "emu/emu.h"

#include <stdio.h>
#include <stdlib.h>

enum { POISONS = 2, MODES = EMU_ORDERS * POISONS };

static char name[64];

bool device_mode(unsigned i)
{
    static const char *const orders[EMU_ORDERS] = {"ascending", "descending", "shuffled"};
    device_close();
    if (i >= MODES) {
        return false;
    }
    emu_config c;
    emu_defaults(&c);
    const char *skip = getenv("MOX_EMU_SKIP_FILE"), *line = getenv("MOX_EMU_SKIP_LINE");
    c.skip_file = skip;
    c.skip_line = line != NULL ? atoi(line) : 0;
    c.order = (emu_order)(i / POISONS);
    c.poison = i % POISONS == 0 ? 0xff : 0x7f;
    c.sm = i % POISONS == 0 ? 80 : 75;
    emu_open(&c);
    snprintf(name, sizeof name, "%s lanes, poison %02x, sm_%d", orders[c.order], (unsigned)c.poison, c.sm);
    device_open();
    return true;
}

const char *device_mode_name(void)
{
    return name;
}
