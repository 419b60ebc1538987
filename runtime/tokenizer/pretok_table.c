/* The pre-tokenizers by name: for each the regular expressions of the tokenizer that the model was trained with, as its
 * publisher gives them (tokenizer.json, or the code around tiktoken), in the syntax of PCRE2.
 *
 * What differs from the publishers' text, without changing a match:
 *   - white space is spelled as the Unicode property: \s of PCRE2 counts U+180E too;
 *   - sets without Han characters (Kimi) are written as what they do not hold, since classes cannot be intersected;
 *   - a run is entered at its beginning only and never given back ((?<!...) and possessive ++) wherever the original
 *     would try every position of a long run anew, which takes time with the square of its length;
 *   - groups of three digits counted from the right are cut from the left, their number being known from the run.
 */
#include "pretok.h"

#include <string.h>

#define WS    "\\p{White_Space}"
#define NO_WS "\\P{White_Space}"
/* of a run of white space the last one belongs to the next word */
#define SPACES      "|" WS "+(?!" NO_WS ")|" WS "+"
#define NEWLINES    "|" WS "*[\\r\\n]+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LEAD        "[^\\r\\n\\p{L}\\p{N}]?"
#define OTHER       " ?[^" WS "\\p{L}\\p{N}]+"

#define GPT2                             "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" OTHER SPACES
#define CL100K(digits)                   CONTRACTION "|" LEAD "\\p{L}+|" digits "|" OTHER "[\\r\\n]*" NEWLINES SPACES
#define UPPER                            "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER                            "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_WORDS(upper, lower, after) LEAD upper "*" lower "+" after "|" LEAD upper "+" lower "*" after
#define O200K(after, digits)                                                                                 \
    CASED_WORDS(UPPER, LOWER, after) "|" digits "|" OTHER "[\\r\\n/]*" NEWLINES SPACES

#define HAN               "\\p{sc:Han}"
#define NO_LETTER_NO_MARK "\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}"
#define KIMI_UPPER        "[^\\p{Ll}" NO_LETTER_NO_MARK HAN "]"
#define KIMI_LOWER        "[^\\p{Lu}\\p{Lt}" NO_LETTER_NO_MARK HAN "]"

#define DEEPSEEK3_WORDS                                                                                      \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"      \
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*" NEWLINES SPACES
#define DEEPSEEK_CJK "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"

/* Cased letters as DeepSeek lists them: those of an older Unicode. */
#define DEEPSEEK_CASED                                                                                       \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"          \
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}"                    \
    "\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}"          \
    "\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}"          \
    "\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"        \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}"         \
    "\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}"         \
    "\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}"        \
    "\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}"          \
    "\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{"     \
    "2149}"                                                                                                  \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}"          \
    "\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}"                  \
    "\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}"        \
    "\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}"                     \
    "\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"
static const mox_pretok_row rows[] = {
    {.names = "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
     .patterns = {CL100K("\\p{N}{1,3}")},
     .ignore_merges = true,
     .add_bos = true},
    {.names = "dbrx smaug-bpe glm4 chatglm-bpe", .patterns = {CL100K("\\p{N}{1,3}")}},
    {.names = "qwen2 deepseek-r1-qwen hunyuan grok-2 megrez solar-open stablelm2 kormo",
     .patterns = {CL100K("\\p{N}")}},
    {.names = "qwen35",
     .patterns = {CONTRACTION "|" LEAD "[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS
                              "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" NEWLINES SPACES}},
    {.names = "gpt-4o llama4 minimax-m2 kanana2", .patterns = {O200K(CONTRACTION "?", "\\p{N}{1,3}")}},
    {.names = "tekken", .patterns = {O200K("", "\\p{N}")}, .ignore_merges = true, .add_bos = true},
    {.names = "deepseek-llm",
     .patterns = {"[\\r\\n]", WS "?[" DEEPSEEK_CASED "]+",
                  WS "?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+",
                  "(?<!" WS ")" WS "++$", DEEPSEEK_CJK, "\\p{N}+"}},
    {.names = "deepseek-v3 hunyuan-dense joyai-llm",
     .patterns = {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
                  DEEPSEEK3_WORDS}},
    {.names = "deepseek-coder",
     .patterns = {"[\\r\\n]", WS "?\\p{L}+", WS "?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {.names = "gpt-2 olmo phi-2 mpt jais trillion gigachat exaone4 a.x-4.0 mellum granite-docling",
     .patterns = {GPT2}},
    {.names = "refact starcoder command-r smollm codeshell exaone minerva-7b mellum2",
     .patterns = {"\\p{N}", GPT2}},
    {.names = "falcon", .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {.names = "kimi-k2",
     .patterns = {HAN "+|" CASED_WORDS(KIMI_UPPER, KIMI_LOWER, CONTRACTION "?") "|\\p{N}{1,3}|" OTHER
                                                                                "[\\r\\n]*" NEWLINES SPACES},
     .ignore_merges = true},
    {.names = "bailingmoe bailingmoe2 llada-moe",
     .patterns = {"'(?i:[sdmt]|ll|ve|re)|" LEAD "+\\p{L}+|\\p{N}|" OTHER "+[\\r\\n]*|" WS
                  "*[\\r\\n]" SPACES}},
    {.names = "seed-coder",
     .patterns = {CONTRACTION "|" LEAD "\\p{L}+|\\p{N}| ?[^" WS "\\p{L}\\p{N}\\r\\n]+" NEWLINES SPACES}},
    {.names = "exaone-moe",
     .patterns = {CONTRACTION "|" LEAD "(?:\\p{L}\\p{M}*+(?: \\p{L}\\p{M}*+)*+)++|\\p{N}|" OTHER
                              "[\\r\\n/]?|" WS "*[\\r\\n]" SPACES}},
    {.names = "afmoe",
     .patterns =
         {"\\p{N}+", "^\\p{N}{1,3}(?=(?:\\p{N}{3})*+$)|(?!^)\\G\\p{N}{3}",
          "[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}\\x{3040}-\\x{309F}"
          "\\x{30A0}-\\x{30FF}\\x{FF65}-\\x{FF9F}\\x{2F00}-\\x{2FDF}\\x{E00}-\\x{EFF}\\x{1780}-\\x{17FF}"
          "\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}\\x{A9E0}-\\x{A9FF}\\x{AC00}-\\x{D7AF}"
          "\\x{1100}-\\x{11FF}]+",
          DEEPSEEK3_WORDS}},
    {.names = "cohere2moe tiny_aya",
     .patterns =
         {"(?<!\\d)\\d++(?![\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}])",
          "^\\d{1,3}(?=(?:\\d{3})*+$)|(?!^)\\G\\d{3}", O200K(CONTRACTION "?", "\\p{N}{1,3}")}},
    {.names = "laguna", .patterns = {"[^\\n]+|[\\n]+", CL100K("\\p{N}")}},
    {.names = "default", .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

static bool has_name(const char *names, mox_str name)
{
    while (name.n > 0 && *names) {
        size_t n = strcspn(names, " ");
        if (n == name.n && memcmp(names, name.p, n) == 0) {
            return true;
        }
        names += n + (names[n] == ' ');
    }
    return false;
}

const mox_pretok_row *mox_pretok_find(mox_str name)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (has_name(rows[i].names, name)) {
            return &rows[i];
        }
    }
    return NULL;
}

const mox_pretok_row *mox_pretok_at(size_t i)
{
    return i < N_ROWS ? &rows[i] : NULL;
}
