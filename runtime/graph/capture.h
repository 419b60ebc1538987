/* Steps of one row as graphs of the device: what a card is told between two questions of the host is told once, at open, and
 * launched with every token.
 *
 * Such a stretch is the same for every token, since all that changes lies in memory which kernels read when they run:
 * tokens, places, angles, slots of states (mox_step_inputs), and the experts that were found in VRAM (mox_expert_place). So
 * nothing is captured anew or updated. A graph ends where the host is asked, and none waits for the host: a step that fails
 * leaves nothing behind that waits for ever.
 *
 * More rows, and a step that is run again to find out what failed, go call by call. So does all where the device has no
 * graphs or refuses one, which is said in one line. Threads: the step thread.
 */
#ifndef MOX_RUNTIME_CAPTURE_H
#define MOX_RUNTIME_CAPTURE_H

#include "runtime/core/log.h"
#include "runtime/graph/graph.h"

enum { MOX_CAPTURED_ROWS = 1 };

/* Which graph: a stretch from op i on (n_ops: behind the last), hits of the MoE op i, logits. */
uint32_t mox_captured_count(const mox_model *m);
static inline uint32_t mox_captured_stretch(uint32_t i)
{
    return i;
}
static inline uint32_t mox_captured_hits(const mox_model *m, uint32_t i)
{
    return m->n_ops + 1 + i;
}
static inline uint32_t mox_captured_logits(const mox_model *m)
{
    return 2 * m->n_ops + 1;
}

/* mox_is_captured: there is such a graph and it may be used for so many rows. launch: it is queued. */
bool mox_is_captured(const mox_graph *g, uint32_t which, uint32_t n_rows);
MOX_NODISCARD mox_err mox_captured_launch(mox_graph *g, uint32_t which);

/* mox_cards_capture: all graphs of all cards, once everything else is there. pinned: of the host's buffers, since a graph
 * copies from no other memory. What cannot be captured is a line in the log, and no graph is kept then. forget: all back. */
void mox_cards_capture(mox_cards *cs, bool pinned, const mox_log *log);
void mox_cards_forget(mox_cards *cs);

#endif
