"""Modelfile templates in the manner of the families that people run: test data, written for these tests."""

from __future__ import annotations

# A turn at a time, as the oldest ones are.
CHATML = """\
{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""

LLAMA3 = """\
{{- range $i, $m := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "tool" }}<|start_header_id|>ipython<|end_header_id|>

{{ .Content }}<|eot_id|>
{{- else }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ if and (eq .Role "user") $.Tools $last -}}
Answer with a call if one of these helps.
{{ range $.Tools }}{{ json . }}
{{ end }}
{{ end }}
{{- if .ToolCalls }}
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}
{{- else }}{{ .Content }}{{ end }}
{{- if not (and $last (eq .Role "assistant")) }}<|eot_id|>{{ end }}
{{- end }}
{{- if and $last (ne .Role "assistant") }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- end }}"""

MISTRAL = """\
{{- if .Messages }}
{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and (eq (len (slice $.Messages $index)) 1) $.Tools }}[AVAILABLE_TOOLS] {{ $.Tools }}[/AVAILABLE_TOOLS]
{{- end }}[INST] {{ if and $.System (eq (len (slice $.Messages $index)) 1) }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- if .Content }} {{ .Content }}</s>
{{- else if .ToolCalls }}[TOOL_CALLS] [
{{- range $at, $call := .ToolCalls }}{{ if $at }}, {{ end }}
{{- with .Function }}{"name": "{{ .Name }}", "arguments": {{ json .Arguments }}}{{ end }}
{{- end }}]</s>
{{- end }}
{{- else if eq .Role "tool" }}[TOOL_RESULTS] {"content": {{ .Content }}}[/TOOL_RESULTS]
{{- end }}
{{- end }}
{{- else }}[INST] {{ if .System }}{{ .System }}

{{ end }}{{ .Prompt }}[/INST]
{{- end }}{{ .Response }}
{{- if .Response }}</s>{{ end }}"""

QWEN = """\
{{- $lastUser := -1 -}}
{{- range $i, $_ := .Messages -}}{{- if eq .Role "user" }}{{ $lastUser = $i }}{{ end }}{{- end -}}
{{- if or .System .Tools }}<|im_start|>system
{{ if .System }}{{ .System }}
{{ end }}
{{- if .Tools }}
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>
{{ end -}}
<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}
{{- if and $.IsThinkSet (eq $i $lastUser) }}
{{- if $.Think }} /think{{ else }} /no_think{{ end }}
{{- end }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if and .Thinking (gt $i $lastUser) }}<think>
{{ .Thinking }}
</think>

{{ end }}
{{- if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ if and $.IsThinkSet (not $.Think) -}}
<think>

</think>

{{ end }}
{{- end }}
{{- end }}"""

GEMMA = """\
{{- $system := "" }}{{ range .Messages }}{{ if eq .Role "system" }}{{ $system = .Content }}{{ continue }}{{ end -}}
<start_of_turn>{{ if eq .Role "assistant" }}model{{ else }}user{{ end }}
{{ with $system }}{{ . }}

{{ end }}{{ $system = "" }}{{ .Content }}<end_of_turn>
{{ end }}<start_of_turn>model
"""

CODELLAMA = """\
{{- if .Suffix }}<PRE> {{ .Prompt }} <SUF>{{ .Suffix }} <MID>
{{- else }}[INST] {{ if .System }}<<SYS>>{{ .System }}<</SYS>>

{{ end }}{{ .Prompt }} [/INST] {{ .Response }}
{{- end }}"""

DEEPSEEK_CODER = """\
{{- if .Suffix }}<\uff5cfim\u2581begin\uff5c>{{ .Prompt }}<\uff5cfim\u2581hole\uff5c>{{ .Suffix }}\
<\uff5cfim\u2581end\uff5c>
{{- else }}
{{- if .System }}{{ .System }}

{{ end }}### Instruction:
{{ .Prompt }}
### Response:
{{ .Response }}
{{- end }}"""

# Types for every argument, as the harmony of gpt-oss has them.
TYPED = """\
{{- define "type" }}{{ toTypeScriptType . }}{{ end -}}
{{ range .Tools }}{{ with .Function }}// {{ .Description }}
type {{ .Name }} = (_: {
{{- range $name, $property := .Parameters.Properties }}
{{ if $property.Description }}// {{ $property.Description }}
{{ end }}{{ $name }}{{ if not $property.Required }}?{{ end }}: {{ template "type" $property }},
{{- end }}
}) => any;{{ end }}
{{ end }}
{{- block "rest" .Messages }}{{ range . }}{{ .Role }}: {{ .Content | printf "%q" }};
{{- else }}silence{{ end }}{{ end }}"""

ALL = (CHATML, LLAMA3, MISTRAL, QWEN, GEMMA, CODELLAMA, DEEPSEEK_CODER, TYPED)
