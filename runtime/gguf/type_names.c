/* Names of tensor types that a file may hold and moxie cannot read: removed from the format, or of a fork.
 * The user learns which kind of file he has instead of a bare number. */
#include "gguf_internal.h"

#include <stdio.h>

static const struct {
    uint32_t id;
    const char *name;
} removed[] =
    {
        {4, "Q4_2"},      {5, "Q4_3"},        {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
        {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"},
},
  fork[] = {
      {133, "Q6_0"},    {134, "IQ1_BN"}, {135, "IQ2_BN"}, {137, "IQ2_K"},  {138, "IQ3_K"},
      {139, "IQ4_K"},   {140, "IQ5_K"},  {141, "IQ6_K"},  {144, "IQ4_KS"}, {145, "IQ2_KS"},
      {146, "IQ4_KSS"}, {151, "Q8_KV"},  {152, "IQ5_KS"}, {153, "IQ2_KT"}, {154, "IQ3_KT"},
      {155, "IQ4_KT"},  {156, "IQ3_KS"}, {157, "IQ2_KL"}, {158, "IQ1_KT"},
};
enum { FORK_FIRST = 133, FORK_LAST = 158, FORK_ROWS_FIRST = 202, FORK_ROWS_LAST = 399 };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *gguf_type_text(uint32_t id, char *out, size_t n)
{
    for (size_t i = 0; i < COUNT(removed); i++) {
        if (removed[i].id == id) {
            snprintf(out, n, "%u (%s, removed from the format)", id, removed[i].name);
            return out;
        }
    }
    for (size_t i = 0; i < COUNT(fork); i++) {
        if (fork[i].id == id) {
            snprintf(out, n, "%u (%s, which ik_llama.cpp alone has)", id, fork[i].name);
            return out;
        }
    }
    if ((id >= FORK_FIRST && id <= FORK_LAST) || (id >= FORK_ROWS_FIRST && id <= FORK_ROWS_LAST)) {
        snprintf(out, n, "%u (%s of ik_llama.cpp)", id,
                 id <= FORK_LAST ? "a type" : "a row-interleaved type");
        return out;
    }
    snprintf(out, n, "%u (unknown to this version)", id);
    return out;
}
