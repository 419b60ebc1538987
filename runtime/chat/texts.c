/* Templates by name, for models whose file has none: the forms that most of them were trained with. */
#include "runtime/chat/render.h"

#include <string.h>

static const char chatml[] =
    "{%- for message in messages -%}\n"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

/* As mistral.c has it, which is what `run` uses; this one is for looking at it. */
static const char mistral[] =
    "{{- bos_token -}}\n"
    "{%- set system = messages[0].content + '\n\n' if messages and messages[0].role == 'system' else '' -%}\n"
    "{%- for message in messages[1:] if system else messages -%}\n"
    "{%- if message.role == 'user' -%}\n"
    "{{- '[INST] ' + (system if loop.first else '') + message.content + ' [/INST]' -}}\n"
    "{%- else -%}{{- message.content + eos_token -}}{%- endif -%}\n"
    "{%- endfor -%}";

static const char llama3[] = "{{- bos_token -}}\n"
                             "{%- for message in messages -%}\n"
                             "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + "
                             "message.content | trim + '<|eot_id|>' -}}\n"
                             "{%- endfor -%}\n"
                             "{%- if add_generation_prompt -%}{{- "
                             "'<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}";

const char *mox_render_builtin(const char *name, const char **list)
{
    *list = "auto, mistral, chatml, llama3";
    return strcmp(name, "chatml") == 0    ? chatml
           : strcmp(name, "llama3") == 0  ? llama3
           : strcmp(name, "mistral") == 0 ? mistral
                                          : NULL;
}
