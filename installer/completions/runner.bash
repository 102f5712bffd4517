# shellcheck shell=bash
# Completion of `runner` for bash, written by `runner generate completion bash`. Starts no Python: models' names
# come from a file that the daemon keeps.

_runner_verbs() { # the words that may follow a command
    found=
    case $1 in
    runner) found='run pull push search create adopt list show plan ps why stop pin unpin cp rm verify prune lock outdated update up launch doctor logs bench serve shutdown service generate config ls' ;;
    'runner generate') found='compose quadlet systemd kube completion' ;;
    esac
}

_runner_options() { # the options of a command
    found=
    case $1 in
    runner) found='--version -v -h --help' ;;
    'runner run') found='--system --option -o --think --no-think --hidethinking --format --keepalive --file --image --nowordwrap --dimensions --no-stdin --verbose --show-prompt --json --host -h --help' ;;
    'runner pull') found='--locked --file -f --as --limit-rate --insecure --dry-run --json --host -h --help' ;;
    'runner push') found='--format --insecure --json --host -h --help' ;;
    'runner search') found='--limit --catalog --json --host -h --help' ;;
    'runner create') found='--file -f --quantize -q --draft-quantize --imatrix --json --host -h --help' ;;
    'runner adopt') found='--all --list --detach -d --json --host -h --help' ;;
    'runner list' | 'runner doctor' | 'runner config' | 'runner ls') found='--json --host -h --help' ;;
    'runner show') found='--modelfile --parameters --system --template --license --memory --verbose -v --json --host -h --help' ;;
    'runner plan') found='--num-ctx --option -o --json --host -h --help' ;;
    'runner ps') found='--watch -w --interval --json --host -h --help' ;;
    'runner why') found='--option -o --json --host -h --help' ;;
    'runner stop' | 'runner pin' | 'runner unpin' | 'runner cp' | 'runner rm' | 'runner shutdown') found='--host -h --help' ;;
    'runner verify') found='--repair --sample --seed --json --host -h --help' ;;
    'runner prune') found='--grace --dry-run --json --host -h --help' ;;
    'runner lock') found='--file -f --check --host -h --help' ;;
    'runner outdated') found='--file -f --exit-code --insecure --json --host -h --help' ;;
    'runner update') found='--file -f --lock --insecure --host -h --help' ;;
    'runner up') found='--file -f --locked --check --insecure --json --host -h --help' ;;
    'runner launch') found='--model -m --config --restore --force --dry-run --json --host -h --help' ;;
    'runner logs') found='--request --follow -f --lines -n --level --since --json --host -h --help' ;;
    'runner bench') found='--url --compare --model --api-key --concurrency --rate --burstiness --requests --duration --input-tokens --output-tokens --shared-prefix --endpoint --ignore-eos --no-ignore-eos --temperature --extra --warmup --rounds --goal --seed --timeout --limit --plot --no-history --json --host -h --help' ;;
    'runner serve') found='--host --models --max-loaded-models --max-memory --max-queue --queue-timeout --pin --keep-alive --context-length --num-parallel --prefix-ram --prefix-disk --aliases --options --per-model --stored-responses --stored-responses-size --request-log --request-bodies --load-timeout --sandbox --spare-worker --api-key --origins --allowed-hosts --image-urls --max-body --registries --download-rate --download-connections --adopt-from --log-level --log-format --log-size --log-files -h --help' ;;
    'runner service') found='--system --user --as --json --dry-run --fresh -h --help' ;;
    'runner generate' | 'runner generate compose' | 'runner generate quadlet' | 'runner generate systemd' | 'runner generate kube' | 'runner generate completion') found='--port --publish --gpu --image --name --api-key-file --secret --namespace --output -o --force -h --help' ;;
    esac
}

_runner_value() { # the kind of value that an option of a command takes; none for a flag
    found=
    case $1 in
    'runner run --system' | 'runner run --option' | 'runner run -o' | 'runner run --keepalive' | 'runner run --dimensions' | 'runner run --host' | 'runner pull --as' | 'runner pull --limit-rate' | 'runner pull --host' | 'runner push --host' | 'runner search --limit' | 'runner search --host' | 'runner create --quantize' | 'runner create -q' | 'runner create --draft-quantize' | 'runner create --host' | 'runner adopt --host' | 'runner list --host' | 'runner show --host' | 'runner plan --num-ctx' | 'runner plan --option' | 'runner plan -o' | 'runner plan --host' | 'runner ps --interval' | 'runner ps --host' | 'runner why --option' | 'runner why -o' | 'runner why --host' | 'runner stop --host' | 'runner pin --host' | 'runner unpin --host' | 'runner cp --host' | 'runner rm --host' | 'runner verify --sample' | 'runner verify --seed' | 'runner verify --host' | 'runner prune --grace' | 'runner prune --host' | 'runner lock --host' | 'runner outdated --host' | 'runner update --host' | 'runner up --host' | 'runner launch --host' | 'runner doctor --host' | 'runner logs --request' | 'runner logs --lines' | 'runner logs -n' | 'runner logs --since' | 'runner logs --host' | 'runner bench --url' | 'runner bench --compare' | 'runner bench --api-key' | 'runner bench --concurrency' | 'runner bench --rate' | 'runner bench --burstiness' | 'runner bench --requests' | 'runner bench --duration' | 'runner bench --input-tokens' | 'runner bench --output-tokens' | 'runner bench --shared-prefix' | 'runner bench --temperature' | 'runner bench --extra' | 'runner bench --warmup' | 'runner bench --rounds' | 'runner bench --goal' | 'runner bench --seed' | 'runner bench --timeout' | 'runner bench --limit' | 'runner bench --host' | 'runner serve --host' | 'runner serve --max-loaded-models' | 'runner serve --max-memory' | 'runner serve --max-queue' | 'runner serve --queue-timeout' | 'runner serve --pin' | 'runner serve --keep-alive' | 'runner serve --context-length' | 'runner serve --num-parallel' | 'runner serve --prefix-ram' | 'runner serve --prefix-disk' | 'runner serve --aliases' | 'runner serve --options' | 'runner serve --per-model' | 'runner serve --stored-responses' | 'runner serve --stored-responses-size' | 'runner serve --request-log' | 'runner serve --request-bodies' | 'runner serve --load-timeout' | 'runner serve --api-key' | 'runner serve --origins' | 'runner serve --allowed-hosts' | 'runner serve --image-urls' | 'runner serve --max-body' | 'runner serve --registries' | 'runner serve --download-rate' | 'runner serve --download-connections' | 'runner serve --adopt-from' | 'runner serve --log-format' | 'runner serve --log-size' | 'runner serve --log-files' | 'runner shutdown --host' | 'runner service --as' | 'runner generate --port' | 'runner generate --publish' | 'runner generate --image' | 'runner generate --name' | 'runner generate --secret' | 'runner generate --namespace' | 'runner generate compose --port' | 'runner generate compose --publish' | 'runner generate compose --image' | 'runner generate compose --name' | 'runner generate compose --secret' | 'runner generate compose --namespace' | 'runner generate quadlet --port' | 'runner generate quadlet --publish' | 'runner generate quadlet --image' | 'runner generate quadlet --name' | 'runner generate quadlet --secret' | 'runner generate quadlet --namespace' | 'runner generate systemd --port' | 'runner generate systemd --publish' | 'runner generate systemd --image' | 'runner generate systemd --name' | 'runner generate systemd --secret' | 'runner generate systemd --namespace' | 'runner generate kube --port' | 'runner generate kube --publish' | 'runner generate kube --image' | 'runner generate kube --name' | 'runner generate kube --secret' | 'runner generate kube --namespace' | 'runner generate completion --port' | 'runner generate completion --publish' | 'runner generate completion --image' | 'runner generate completion --name' | 'runner generate completion --secret' | 'runner generate completion --namespace' | 'runner config --host' | 'runner ls --host') found='any' ;;
    'runner run --think') found='optional =low =medium =high =max =true =false' ;;
    'runner run --format') found='=json' ;;
    'runner run --file' | 'runner run --image' | 'runner pull --file' | 'runner pull -f' | 'runner create --file' | 'runner create -f' | 'runner create --imatrix' | 'runner lock --file' | 'runner lock -f' | 'runner outdated --file' | 'runner outdated -f' | 'runner update --file' | 'runner update -f' | 'runner up --file' | 'runner up -f' | 'runner bench --plot' | 'runner generate --api-key-file' | 'runner generate compose --api-key-file' | 'runner generate quadlet --api-key-file' | 'runner generate systemd --api-key-file' | 'runner generate kube --api-key-file' | 'runner generate completion --api-key-file') found='files' ;;
    'runner push --format') found='=docker =cncf =both' ;;
    'runner launch --model' | 'runner launch -m' | 'runner bench --model') found='models' ;;
    'runner logs --level' | 'runner serve --log-level') found='=debug =info =warning =error' ;;
    'runner bench --endpoint') found='=chat =completions' ;;
    'runner serve --models' | 'runner generate --output' | 'runner generate -o' | 'runner generate compose --output' | 'runner generate compose -o' | 'runner generate quadlet --output' | 'runner generate quadlet -o' | 'runner generate systemd --output' | 'runner generate systemd -o' | 'runner generate kube --output' | 'runner generate kube -o' | 'runner generate completion --output' | 'runner generate completion -o') found='folders' ;;
    'runner serve --sandbox') found='=on =strict =off' ;;
    'runner serve --spare-worker') found='=true =false' ;;
    'runner generate --gpu' | 'runner generate compose --gpu' | 'runner generate quadlet --gpu' | 'runner generate systemd --gpu' | 'runner generate kube --gpu' | 'runner generate completion --gpu') found='=cuda =rocm =vulkan =none' ;;
    esac
}

_runner_argument() { # the kind of word at a command's place 0, 1, ...
    found=
    case $1 in
    'runner run 0') found='models =all-minilm =aya-expanse =bge-base =bge-large =bge-m3 =bge-reranker-v2-m3 =bge-small =codestral =cogito =command-r7b =deepcoder =deepseek-coder-v2 =deepseek-ocr =deepseek-r1 =devstral =dolphin3 =embeddinggemma =eurollm =falcon3 =gemma2 =gemma3 =gemma3n =gemma4 =glm-4.7-flash =gpt-oss =granite-embedding =granite3.3 =granite4 =hermes3 =hermes4 =internvl3.5 =jan-nano =jina-reranker-v1 =jina-reranker-v2 =lfm2.5 =lfm2.5-vl =llama3.1 =llama3.2 =llama3.3 =magistral =medgemma =minicpm-v =minicpm4.1 =ministral-3 =mistral =mistral-nemo =mistral-small =mistral-small3.1 =mixtral =mxbai-embed-large =nemotron-3-nano =nomic-embed-text =nomic-embed-text-v2-moe =olmo-3 =phi3.5 =phi4 =phi4-mini =pixtral =qwen2.5 =qwen2.5-coder =qwen2.5vl =qwen3 =qwen3-coder =qwen3-coder-next =qwen3-embedding =qwen3-next =qwen3-reranker =qwen3-vl =qwen3.5 =qwq =smollm2 =smollm3 =smolvlm =smolvlm2 =snowflake-arctic-embed2 =tinyllama =tulu3 =yi-coder' ;;
    'runner push 0' | 'runner create 0' | 'runner list 0' | 'runner show 0' | 'runner plan 0' | 'runner ps 0' | 'runner why 0' | 'runner cp 0' | 'runner logs 0' | 'runner ls 0') found='models' ;;
    'runner push 1' | 'runner search 0' | 'runner cp 1' | 'runner config 2') found='any' ;;
    'runner adopt 0') found='files =huggingface =ollama =lmstudio =docker' ;;
    'runner launch 0') found='=aider =claude =cline =codex =continue =copilot =droid =goose =opencode =qwen =vscode =zed' ;;
    'runner service 0') found='=install =start =stop =restart =status =uninstall' ;;
    'runner generate completion 0') found='=bash =zsh =fish =powershell' ;;
    'runner config 0') found='=get =set =unset =reload' ;;
    'runner config 1') found='=host =models =max_loaded_models =max_memory =max_queue =queue_timeout =pin =keep_alive =context_length =num_parallel =prefix_ram =prefix_disk =aliases =options =per_model =stored_responses =stored_responses_size =request_log =request_bodies =load_timeout =sandbox =spare_worker =api_key =origins =allowed_hosts =image_urls =max_body =registries =download_rate =download_connections =adopt_from =autostart =log_level =log_format =log_size =log_files' ;;
    'runner run '* | 'runner launch '*) found='any' ;;
    'runner pull '*) found='models =all-minilm =aya-expanse =bge-base =bge-large =bge-m3 =bge-reranker-v2-m3 =bge-small =codestral =cogito =command-r7b =deepcoder =deepseek-coder-v2 =deepseek-ocr =deepseek-r1 =devstral =dolphin3 =embeddinggemma =eurollm =falcon3 =gemma2 =gemma3 =gemma3n =gemma4 =glm-4.7-flash =gpt-oss =granite-embedding =granite3.3 =granite4 =hermes3 =hermes4 =internvl3.5 =jan-nano =jina-reranker-v1 =jina-reranker-v2 =lfm2.5 =lfm2.5-vl =llama3.1 =llama3.2 =llama3.3 =magistral =medgemma =minicpm-v =minicpm4.1 =ministral-3 =mistral =mistral-nemo =mistral-small =mistral-small3.1 =mixtral =mxbai-embed-large =nemotron-3-nano =nomic-embed-text =nomic-embed-text-v2-moe =olmo-3 =phi3.5 =phi4 =phi4-mini =pixtral =qwen2.5 =qwen2.5-coder =qwen2.5vl =qwen3 =qwen3-coder =qwen3-coder-next =qwen3-embedding =qwen3-next =qwen3-reranker =qwen3-vl =qwen3.5 =qwq =smollm2 =smollm3 =smolvlm =smolvlm2 =snowflake-arctic-embed2 =tinyllama =tulu3 =yi-coder' ;;
    'runner adopt '* | 'runner stop '* | 'runner pin '* | 'runner unpin '* | 'runner rm '* | 'runner verify '* | 'runner lock '* | 'runner outdated '* | 'runner update '* | 'runner generate compose '* | 'runner generate quadlet '* | 'runner generate systemd '* | 'runner generate kube '*) found='models' ;;
    esac
}

# The command line up to the cursor as words, as the shell will see them: readline breaks them at colons and such.
_runner_words() {
    local line=${COMP_LINE:0:COMP_POINT} index word blank
    words=()
    for ((index = 0; index <= COMP_CWORD; index++)); do
        blank=${line%%[![:blank:]]*}
        line=${line#"$blank"}
        word=${COMP_WORDS[index]}
        if ((index == COMP_CWORD)); then word=$line; fi
        line=${line#"$word"}
        if [[ -z $blank ]] && ((index > 0)); then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
    done
}

_runner_add() { # a candidate, if it begins with what is typed; readline wants it without what it broke off
    if [[ $1 == "$current"* ]]; then COMPREPLY+=("$lead${1#"$broken"}"); fi
}

_runner_models() {
    local folder name
    if [[ -n ${RUNNER_HOME-} ]]; then
        folder=$RUNNER_HOME/cache
    elif [[ ${XDG_CACHE_HOME-} == /* ]]; then
        folder=$XDG_CACHE_HOME/runner
    elif [[ $OSTYPE == darwin* ]]; then
        folder=~/Library/Caches/runner
    else
        folder=~/.cache/runner
    fi
    [[ -r $folder/names ]] || return 0
    while IFS= read -r name; do
        # Nothing that a shell could take for more than a word.
        case $name in '' | -* | *[!A-Za-z0-9._:/-]*) continue ;; esac
        _runner_add "$name"
    done <"$folder/names"
}

_runner_files() { # $1: -f for files, -d for folders
    # Not compgen, which takes quotes within a home's name for quoting.
    local tilde='' home='' name
    if [[ -z $quoted && $current =~ ^~[A-Za-z0-9._-]*/ ]]; then
        tilde=${BASH_REMATCH[0]}
        eval "home=$tilde" # `~` or `~name`, and nothing else
    fi
    compopt -o filenames 2>/dev/null
    while IFS= read -r name; do _runner_add "$tilde${name#"$home"}"; done < <(
        shopt -u failglob nocaseglob
        set +f
        GLOBIGNORE=
        for name in "$home${current#"$tilde"}"*; do
            if [[ -d $name || $1 == -f && -e $name ]]; then printf '%s\n' "$name"; fi
        done
    )
}

_runner_plain() { # what is typed, as it will be without the backslashes
    local rest=$current
    current=
    while [[ $rest == *\\* ]]; do
        current+=${rest%%\\*}
        rest=${rest#*\\}
        current+=${rest:0:1}
        rest=${rest:1}
    done
    current+=$rest
}

_runner_offer() { # what a kind stands for
    local kind
    for kind in $1; do
        case $kind in
        =*) _runner_add "${kind#=}" ;;
        files) _runner_files -f ;;
        folders) _runner_files -d ;;
        models)
            case $current in
            ./* | ../* | /* | '~'*) _runner_files -f ;;
            *) _runner_models ;;
            esac
            ;;
        esac
    done
}

_runner() {
    local words current lead='' broken='' breaks='' found word each at=runner place=0 pending='' ended='' quoted=''
    COMPREPLY=()
    _runner_words
    current=${words[${#words[@]} - 1]}
    if ((${#words[@]} < 2)); then return; fi
    for word in "${words[@]:1:${#words[@]}-2}"; do
        if [[ -n $pending ]]; then
            pending=
            continue
        fi
        if [[ -z $ended ]]; then
            case $word in
            --) ended=yes && continue ;;
            --*=*) continue ;;
            -?*)
                _runner_value "$at $word"
                if [[ $found != optional* ]]; then pending=$found; fi
                continue
                ;;
            esac
        fi
        _runner_verbs "$at"
        if [[ " $found " == *" $word "* ]]; then at+=" $word"; else ((place++)); fi
    done
    case $current in
    [\"\']*) quoted=yes current=${current:1} ;;
    *)
        _runner_plain
        if [[ $COMP_WORDBREAKS == *:* ]]; then breaks=:; fi
        if [[ $COMP_WORDBREAKS == *=* ]]; then breaks+='='; fi
        ;;
    esac
    if [[ -z $pending$ended && $current == --*=* ]]; then
        _runner_value "$at ${current%%=*}"
        if [[ $breaks != *=* ]]; then lead=${current%%=*}=; fi
        current=${current#*=}
        pending=${found:-none}
    fi
    if [[ -n $breaks ]]; then broken=${current%"${current##*["$breaks"]}"}; fi
    if [[ -n $pending ]]; then
        _runner_offer "$pending"
    elif [[ -z $ended && $current == -* ]]; then
        _runner_options "$at"
        for each in $found; do _runner_add "$each"; done
    else
        _runner_verbs "$at"
        for each in $found; do _runner_add "$each"; done
        _runner_argument "$at $place"
        _runner_offer "$found"
    fi
}

complete -F _runner runner
