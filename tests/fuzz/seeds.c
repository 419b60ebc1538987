/* seeds DIR: what the fuzzers start from, one folder for each target: headers of models that are small and whole, of
 * the tracked models and of a packed one, vocabularies, settings, a trace.
 */
#include "gguf/tiny.h"
#include "profiler/trace_file.h"
#include "runtime/moxie.h"
#include "runtime/pack/write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *root;

static void put(const char *folder, const char *name, const void *p, size_t n)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0) {
        fprintf(stderr, "%s cannot be written\n", path);
        exit(1);
    }
}

/* As much of a file as its header takes. */
static void put_header(const char *folder, const char *name, const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    size_t have = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    uint64_t need = 0, n = 4096;
    mox_gguf *g = NULL;
    if (f) {
        fclose(f);
    }
    while (n <= have && mox_gguf_parse(&g, bytes, n, UINT64_C(1) << 40, &need) == MOX_E_TRUNCATED &&
           need > n) {
        n = need > n + 512 ? need : n + 512;
    }
    if (!g) {
        fprintf(stderr, "%s has no header of up to a MiB: %s\n", path, mox_err_last()->msg);
        exit(1);
    }
    mox_gguf_close(&g);
    put(folder, name, bytes, n);
}

static void own_models(void)
{
    gb b = {0};
    tiny_build(&b, NULL);
    put("gguf", "tiny", b.p, gb_at(&b, "header end"));
    put("gguf", "tiny-whole", b.p, b.n);
    gb_free(&b);
    toy_build(&b, NULL);
    put("gguf", "toy", b.p, b.n);
    gb_free(&b);
}

static void packed_model(const char *name, const char *from)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/packing.gguf", root);
    mox_pack_cfg cfg = {.model = from, .out = path, .force = true};
    mox_pack_report report;
    if (mox_pack_write(&cfg, &report) != MOX_OK) {
        fprintf(stderr, "packing %s: %s\n", from, mox_err_last()->msg);
        exit(1);
    }
    put_header("pack", name, path);
    unlink(path);
}

static void vocabularies(void)
{
    static const uint8_t plain[] = "\x01\x04\x01\x05\x03\xE2\x96\x81\x01\x01\x01"
                                   "a\x01\x02\x02"
                                   "ab\x04\x03\x05<end>a ab<end> \xE2\x82\xAC";
    static const uint8_t special[] =
        "\x31\x03\x03\x01\x08<|eot_id|>\x04\x02\x02<<\x04\x02\x03<<<a <<<<|eot_id|> <<";
    /* byte-level: no pieces but the bytes (from id 3 on), merges "e r" and "t er", no ids, Qwen's words */
    static const uint8_t bytes[] = "\x8B\x00\x02\x68\x00\x75\x00\x01\x77\x00\x03\x01\x01"
                                   "\x02the other's 1234  \n\n \xE4\xB8\x93\xE5\xAE\xB6";
    put("tokenizer", "bytes", bytes, sizeof bytes - 1);
    put("tokenizer", "plain", plain, sizeof plain - 1);
    put("tokenizer", "special", special, sizeof special - 1);
}

static void small_files(void)
{
    static const char ini[] = " # settings\n[run]\nram = 2G ; half\n temp=0.7\n\n[serve]\nport: 8080\n";
    const struct {
        mox_trace_header h;
        mox_trace_block info;
        char line[8];
        mox_trace_block uses;
        mox_trace_record r[2];
        mox_trace_block span;
        mox_trace_span s;
        mox_trace_block done;
        mox_trace_end end;
    } t = {.h = {.magic = "MOXT", .version = MOX_TRACE_VERSION, .n_layers = 2, .n_experts = 4, .top_k = 2},
           .info = {.tag = "INFO", .bytes = sizeof t.line},
           .line = "ctx 99\n",
           .uses = {.tag = "USES", .bytes = sizeof t.r},
           .r = {{.layer = 1, .expert = 3, .rank = 1, .weight = 0.5f}, {.step = 7, .expert = 2}},
           .span = {.tag = "SPAN", .bytes = sizeof t.s},
           .s = {.begin_ns = 5, .ns = 7, .layer = 1, .expert = 2},
           .done = {.tag = "DONE", .bytes = sizeof t.end},
           .end = {.uses = 2, .spans = 1}};
    uint8_t trace[1 + sizeof t] = {1};
    memcpy(trace + 1, &t, sizeof t);
    put("ini_trace", "trace", trace, sizeof trace);
    char with_kind[sizeof ini + 1] = "\0";
    memcpy(with_kind + 1, ini, sizeof ini - 1);
    put("ini_trace", "ini", with_kind, sizeof ini);
}

/* A template, a zero, what somebody says. */
static void templates(void)
{
    static const char loop[] =
        "{%- for m in messages %}{{ '<|' + m.role + '|>' + m.content | trim }}{% if loop.last %}.{% "
        "endif %}{%- endfor %}\0hi <|user|> \x1A";
    static const char calls[] =
        "{% macro f(a, b=1) %}{{ a ~ b }}{{ caller() if caller }}{% endmacro %}{% call f(x) %}{% set ns = "
        "namespace(s=x[::-1]) %}{{ ns.s.split('a') | join('-') | tojson(indent=2) }}{% endcall %}\0banana "
        "\x1A";
    static const char formats[] =
        "{{ '%5.2s|%r' % (x, [x, 1.5, none]) }}{{ '{:>9}'.format(x) }}{{ {x: 1} | dictsort }}{{ messages | "
        "selectattr('role', 'eq', 'user') | map(attribute='content') | list }}\0a\x1A";
    put("template", "loop", loop, sizeof loop - 1);
    put("template", "calls", calls, sizeof calls - 1);
    put("template", "formats", formats, sizeof formats - 1);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIR\n", argv[0]);
        return 2;
    }
    root = argv[1];
    mkdir(root, 0777);
    own_models();
    put_header("gguf", "mixtral", MOX_TEST_DATA "/models/mixtral-a.gguf");
    put_header("gguf", "legacy", MOX_TEST_DATA "/models/mixtral-a-legacy-experts.gguf");
    put_header("gguf", "quantmix", MOX_TEST_DATA "/models/quantmix-a.gguf");
    put_header("gguf", "split", MOX_TEST_DATA "/models/mixtral-a-split-00001-of-00003.gguf");
    packed_model("mixtral", MOX_TEST_DATA "/models/mixtral-a.gguf");
    packed_model("legacy", MOX_TEST_DATA "/models/mixtral-a-legacy-experts.gguf");
    vocabularies();
    templates();
    small_files();
    return 0;
}
