/* What is kept of a conversation, and what comes back from a file. */
#include "demo_model.h"
#include "runtime/cli/chat/conversation.h"
#include "runtime/cli/chat/saved.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void add(mox_conversation *c, mox_role role, const char *text)
{
    mox_message m = {.role = role, .text = text, .n_text = strlen(text)};
    cr_assert_eq(mox_conv_add(c, &m), MOX_OK);
}

static mox_conversation talk(uint32_t n_turns)
{
    mox_conversation c = {0};
    for (uint32_t i = 0; i < n_turns; i++) {
        char text[32];
        snprintf(text, sizeof text, "question %u", i);
        add(&c, MOX_ROLE_USER, text);
        snprintf(text, sizeof text, "answer %u", i);
        add(&c, MOX_ROLE_ASSISTANT, text);
    }
    return c;
}

Test(conversation, undo_takes_question_and_answer)
{
    mox_conversation c = talk(2);
    cr_assert_eq(mox_conv_turns(&c), 2);
    cr_assert(mox_conv_undo(&c));
    cr_assert_eq(c.n, 2);
    cr_assert_str_eq(c.m[1].text, "answer 0");
    add(&c, MOX_ROLE_USER, "not answered");
    cr_assert_not(mox_conv_answered(&c));
    cr_assert_eq(mox_conv_turns(&c), 2);
    cr_assert(mox_conv_undo(&c));
    cr_assert_eq(c.n, 2, "a question without an answer goes alone");
    cr_assert(mox_conv_undo(&c));
    cr_assert_not(mox_conv_undo(&c), "nothing is left");
    mox_conv_free(&c);
}

Test(conversation, retry_takes_the_answer_alone)
{
    mox_conversation c = talk(2);
    mox_conv_drop_last(&c);
    cr_assert_eq(c.n, 3);
    cr_assert_str_eq(c.m[2].text, "question 1");
    mox_conv_free(&c);
}

Test(conversation, system_message_stays_in_front)
{
    mox_conversation c = talk(20);
    cr_assert_eq(mox_conv_system(&c, "be brief", 8), MOX_OK);
    cr_assert_eq(c.n, 41);
    cr_assert_eq(c.m[0].role, MOX_ROLE_SYSTEM);
    cr_assert_eq(mox_conv_turns(&c), 20);
    cr_assert_eq(mox_conv_system(&c, "be long", 7), MOX_OK);
    cr_assert_eq(c.n, 41, "replaced");
    cr_assert_str_eq(c.m[0].text, "be long");
    mox_conv_clear(&c);
    cr_assert_eq(c.n, 1);
    cr_assert_not(mox_conv_undo(&c));
    cr_assert_eq(mox_conv_system(&c, "", 0), MOX_OK);
    cr_assert_eq(c.n, 0);
    mox_conv_free(&c);
}

Test(conversation, oldest_turns_go_first_and_the_last_stays)
{
    mox_conversation c = talk(2);
    cr_assert_eq(mox_conv_system(&c, "be brief", 8), MOX_OK);
    add(&c, MOX_ROLE_USER, "question 2");
    cr_assert(mox_conv_drop_oldest(&c));
    cr_assert_eq(c.m[0].role, MOX_ROLE_SYSTEM);
    cr_assert_str_eq(c.m[1].text, "question 1");
    cr_assert(mox_conv_drop_oldest(&c));
    cr_assert_str_eq(c.m[1].text, "question 2");
    cr_assert_not(mox_conv_drop_oldest(&c), "a question that waits for its answer is never dropped");
    mox_conv_free(&c);
}

static char *temporary(char path[64])
{
    snprintf(path, 64, "/tmp/moxie-chat-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    return path;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

Test(saved, comes_back_as_it_was)
{
    char path[64];
    mox_tokenizer *t = demo_tokenizer();
    mox_conversation c = {0}, back = talk(3);
    const char question[] = "quotes \" and \\ and\nlines, \xC3\xBC \xF0\x9F\x98\x80 </s>";
    uint32_t ids[64], n = 0;
    char work[8192];
    cr_assert_eq(mox_tokenizer_encode(t, "The king.", 9, false, false, ids, 64, &n, work), MOX_OK);
    cr_assert_eq(mox_conv_system(&c, "be brief", 8), MOX_OK);
    add(&c, MOX_ROLE_USER, question);
    mox_message answer = {.role = MOX_ROLE_ASSISTANT,
                          .text = "The king.",
                          .n_text = 9,
                          .ids = ids,
                          .n_ids = n,
                          .stopped = true};
    cr_assert_eq(mox_conv_add(&c, &answer), MOX_OK);
    cr_assert_eq(mox_conv_save(&c, temporary(path), "a model"), MOX_OK, "%s", mox_err_last()->msg);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(mox_conv_load(&back, path, t), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(back.n, 3);
    cr_assert(back.has_system);
    cr_assert_str_eq(back.m[1].text, question);
    cr_assert(back.m[2].stopped);
    cr_assert_eq(back.m[2].n_ids, n);
    cr_assert_arr_eq(back.m[2].ids, ids, n * sizeof *ids);
    cr_assert_eq(mox_conv_save(&back, path, "a model"), MOX_OK, "a saved chat is replaced");
    mox_conv_free(&c);
    mox_conv_free(&back);
    mox_tokenizer_destroy(&t);
    unlink(path);
}

/* Tokens that another model made, or that somebody changed, give another text: then the text counts. */
Test(saved, tokens_are_believed_only_with_their_text)
{
    char path[64];
    mox_tokenizer *t = demo_tokenizer();
    mox_conversation c = {0};
    static const char *const tokens[] = {"[5, 6]", "[999999999]", "[-1]", "[1.5]", "\"no\"", "[\"a\"]", "[]"};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "
                 "\"content\": "
                 "\"The king.\", \"tokens\": %s}]}",
                 tokens[i]);
        put(temporary(path), text);
        cr_assert_eq(mox_conv_load(&c, path, t), MOX_OK, "%s: %s", tokens[i], mox_err_last()->msg);
        cr_assert_eq(c.m[1].n_ids, 0);
        cr_assert_str_eq(c.m[1].text, "The king.");
        unlink(path);
    }
    mox_conv_free(&c);
    mox_tokenizer_destroy(&t);
}

Test(saved, a_wrong_file_changes_nothing)
{
    char path[64];
    mox_conversation c = talk(1);
    static const char *const texts[] = {"",
                                        "no json",
                                        "{}",
                                        "{\"messages\": 3}",
                                        "{\"messages\": [3]}",
                                        "[]",
                                        "{\"messages\": [{\"role\": \"wizard\", \"content\": \"a\"}]}",
                                        "{\"messages\": [{\"role\": \"user\", \"content\": 5}]}",
                                        "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}",
                                        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, "
                                        "{\"role\": \"user\", \"content\": \"b\"}]}",
                                        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, "
                                        "{\"role\": \"system\", \"content\": \"b\"}]}",
                                        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put(temporary(path), texts[i]);
        cr_assert_eq(mox_conv_load(&c, path, NULL), MOX_E_FORMAT, "text %zu", i);
        cr_assert_eq(c.n, 2);
        cr_assert_str_eq(c.m[1].text, "answer 0");
        unlink(path);
    }
    cr_assert_eq(mox_conv_load(&c, "/tmp", NULL), MOX_E_FORMAT, "a folder");
    cr_assert_eq(mox_conv_load(&c, path, NULL), MOX_E_OPEN, "not there any more");
    mox_conv_free(&c);
}

Test(saved, replaces_nothing_but_saved_chats)
{
    char path[64], text[32] = "";
    mox_conversation c = talk(1);
    put(temporary(path), "my thesis");
    cr_assert_eq(mox_conv_save(&c, path, "m"), MOX_E_CONFLICT);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(fgets(text, sizeof text, f));
    fclose(f);
    cr_assert_str_eq(text, "my thesis");
    cr_assert_eq(mox_conv_save(&c, "/tmp", "m"), MOX_E_CONFLICT, "a folder");
    cr_assert_eq(mox_conv_save(&c, "/no/such/folder/chat.json", "m"), MOX_E_OPEN);
    add(&c, MOX_ROLE_USER, "not UTF-8: \xFF");
    unlink(path);
    cr_assert_eq(mox_conv_save(&c, path, "m"), MOX_E_WRITE);
    cr_assert_neq(access(path, F_OK), 0, "nothing is left behind");
    mox_conv_free(&c);
}
