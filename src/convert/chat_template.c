/*
 * Jinja templates of Mistral's instruct formats (formats.md 7.5), for models that come without one. A SentencePiece
 * vocabulary puts a space of its own in front of every stretch of text, so the templates write none where the format has
 * that one.
 */
#include "convert/to_gguf_internal.h"

#include "token/tokenizer.h"

/* Before v7 a system text stands in front of a user's: of the first (v1) or of the last one. */
#define OPENING                                                                                                        \
    "{{- bos_token }}"                                                                                                 \
    "{%- set ns = namespace(system='', last=-1, first=-1) %}"                                                          \
    "{%- for m in messages %}"                                                                                         \
    "{%- if m['role'] == 'system' %}{%- set ns.system = ns.system + m['content'] + '\\n\\n' %}{%- endif %}"            \
    "{%- if m['role'] == 'user' %}{%- set ns.last = loop.index0 %}"                                                    \
    "{%- if ns.first < 0 %}{%- set ns.first = loop.index0 %}{%- endif %}{%- endif %}"                                  \
    "{%- endfor %}"                                                                                                    \
    "{%- for m in messages %}"

#define ANSWER_TRIMMED                                                                                                 \
    "{%- elif m['role'] == 'assistant' %}{{- m['content'].rstrip(' ') }}"                                              \
    "{%- if not loop.last %}{{- eos_token }}{%- endif %}{%- endif %}{%- endfor %}"

#define TOOLS                                                                                                          \
    "{%- if loop.index0 == ns.last and tools %}{{- '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}"    \
    "{%- endif %}"

static const char v1[] = OPENING
    "{%- if m['role'] == 'user' %}"
    "{{- '[INST] ' + (ns.system if loop.index0 == ns.first else '') + m['content'] + ' [/INST]' }}"
    "{%- elif m['role'] == 'assistant' %}{{- m['content'] }}{%- if not loop.last %}{{- eos_token }}{%- endif %}"
    "{%- endif %}{%- endfor %}";

static const char v3[] = OPENING
    "{%- if m['role'] == 'user' %}" TOOLS
    "{{- '[INST]' + (ns.system if loop.index0 == ns.last else '') + m['content'] + '[/INST]' }}" ANSWER_TRIMMED;

static const char v7[] = OPENING
    "{%- if m['role'] == 'system' %}{{- '[SYSTEM_PROMPT]' + m['content'] + '[/SYSTEM_PROMPT]' }}"
    "{%- elif m['role'] == 'user' %}" TOOLS "{{- '[INST]' + m['content'] + '[/INST]' }}" ANSWER_TRIMMED;

const char *an_chat_template_of(int format)
{
    switch ((an_chat_format)format) {
    case AN_CHAT_MISTRAL_V1: return v1;
    case AN_CHAT_MISTRAL_V2:
    case AN_CHAT_MISTRAL_V3:
    case AN_CHAT_MISTRAL_V3_TEKKEN: return v3;
    case AN_CHAT_MISTRAL_V7:
    case AN_CHAT_MISTRAL_V7_TEKKEN: return v7;
    default: return NULL;
    }
}
