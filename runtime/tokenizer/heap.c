/* The candidates of merging, both kinds of tokenizers: a binary heap in memory of the caller. */
#include "tokenizer_internal.h"

/* Lower order first, then the one further left. */
static bool before(const tok_pair *a, const tok_pair *b)
{
    return a->order < b->order || (a->order == b->order && a->left < b->left);
}

void tok_heap_push(tok_heap *h, tok_pair p)
{
    size_t i = h->n++;
    while (i > 0 && before(&p, &h->pairs[(i - 1) / 2])) {
        h->pairs[i] = h->pairs[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->pairs[i] = p;
}

tok_pair tok_heap_pop(tok_heap *h)
{
    tok_pair top = h->pairs[0], last = h->pairs[--h->n];
    size_t i = 0;
    for (size_t child = 1; child < h->n; child = 2 * i + 1) {
        if (child + 1 < h->n && before(&h->pairs[child + 1], &h->pairs[child])) {
            child++;
        }
        if (!before(&h->pairs[child], &last)) {
            break;
        }
        h->pairs[i] = h->pairs[child];
        i = child;
    }
    h->pairs[i] = last;
    return top;
}
