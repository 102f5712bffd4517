# Completion of `runner` for fish, written by `runner generate completion fish`. Starts no Python: models' names come
# from a file that the daemon keeps.

function __runner_taking -a at # the options of a command whose value is the next word
    switch $at
        case 'runner run'
            echo -- --system --option -o --format --keepalive --file --image --dimensions --host
        case 'runner pull'
            echo -- --file -f --as --limit-rate --host
        case 'runner push'
            echo -- --format --host
        case 'runner search'
            echo -- --limit --host
        case 'runner create'
            echo -- --file -f --quantize -q --draft-quantize --imatrix --host
        case 'runner adopt' 'runner list' 'runner show' 'runner stop' 'runner pin' 'runner unpin' 'runner cp' 'runner rm' 'runner doctor' 'runner shutdown' 'runner config' 'runner ls'
            echo -- --host
        case 'runner plan'
            echo -- --num-ctx --option -o --host
        case 'runner ps'
            echo -- --interval --host
        case 'runner why'
            echo -- --option -o --host
        case 'runner verify'
            echo -- --sample --seed --host
        case 'runner prune'
            echo -- --grace --host
        case 'runner lock' 'runner outdated' 'runner update' 'runner up'
            echo -- --file -f --host
        case 'runner launch'
            echo -- --model -m --host
        case 'runner logs'
            echo -- --request --lines -n --level --since --host
        case 'runner bench'
            echo -- --url --compare --model --api-key --concurrency --rate --burstiness --requests --duration --input-tokens --output-tokens --shared-prefix --endpoint --temperature --extra --warmup --rounds --goal --seed --timeout --limit --plot --host
        case 'runner serve'
            echo -- --host --models --max-loaded-models --max-memory --max-queue --queue-timeout --pin --keep-alive --context-length --num-parallel --prefix-ram --prefix-disk --aliases --options --per-model --stored-responses --stored-responses-size --request-log --request-bodies --load-timeout --sandbox --spare-worker --api-key --origins --allowed-hosts --image-urls --max-body --registries --download-rate --download-connections --adopt-from --log-level --log-format --log-size --log-files
        case 'runner service'
            echo -- --as
        case 'runner generate' 'runner generate compose' 'runner generate quadlet' 'runner generate systemd' 'runner generate kube' 'runner generate completion'
            echo -- --port --publish --gpu --image --name --api-key-file --secret --namespace --output -o
    end
end

function __runner_verbs -a at # the words that may follow a command
    switch $at
        case 'runner'
            echo -- run pull push search create adopt list show plan ps why stop pin unpin cp rm verify prune lock outdated update up launch doctor logs bench serve shutdown service generate config ls
        case 'runner generate'
            echo -- compose quadlet systemd kube completion
    end
end

function __runner_place # two lines: the command that the line names so far, and how many of its arguments are there
    set -l at runner
    set -l place 0
    set -l ended
    set -l pending
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$pending"
            set pending
            continue
        end
        if test -z "$ended"
            switch $word
                case --
                    set ended yes
                    continue
                case '--*=*'
                    continue
                case '-?*'
                    contains -- $word (__runner_taking $at | string split ' '); and set pending yes
                    continue
            end
        end
        if contains -- $word (__runner_verbs $at | string split ' ')
            set at "$at $word"
        else
            set place (math $place + 1)
        end
    end
    echo $at
    echo $place
end

function __runner_within -a at # whether the line names this command
    set -l here (__runner_place)
    test "$here[1]" = "$at"
end

function __runner_at -a at place more # whether the next word is this command's, at this place (or a later one)
    set -l here (__runner_place)
    test "$here[1]" = "$at"; or return
    test -z "$place"; or test "$here[2]" = "$place"; or test -n "$more" -a "$here[2]" -ge "$place"
end

function __runner_models
    set -l folder ~/.cache/runner
    if test -n "$RUNNER_HOME"
        set folder $RUNNER_HOME/cache
    else if string match -q '/*' -- "$XDG_CACHE_HOME"
        set folder $XDG_CACHE_HOME/runner
    else if test -d ~/Library/Caches
        set folder ~/Library/Caches/runner
    end
    if test -r $folder/names
        # Nothing that a shell could take for more than a word.
        string match -r '^[A-Za-z0-9_][A-Za-z0-9._:/-]*$' <$folder/names
    end
    # A model may be a file too.
    if string match -qr '^(\.{1,2}/|/|~)' -- (commandline -ct)
        complete -C "'' "(commandline -ct)
    end
end

complete -c runner -e
complete -c runner -f
complete -c runner -n '__runner_at \'runner\'' -a 'run' -d 'Ask a model, or chat with it.'
complete -c runner -n '__runner_at \'runner\'' -a 'pull' -d 'Bring a model into the store.'
complete -c runner -n '__runner_at \'runner\'' -a 'push' -d 'Publish a model in a container registry.'
complete -c runner -n '__runner_at \'runner\'' -a 'search' -d 'Find models to pull.'
complete -c runner -n '__runner_at \'runner\'' -a 'create' -d 'Create a model from a Modelfile'
complete -c runner -n '__runner_at \'runner\'' -a 'adopt' -d 'Use models that other tools have, without a copy.'
complete -c runner -n '__runner_at \'runner\'' -a 'list' -d 'List the models in the store'
complete -c runner -n '__runner_at \'runner\'' -a 'show' -d 'Show what is known about a model.'
complete -c runner -n '__runner_at \'runner\'' -a 'plan' -d 'Tell where a model would go, and what that takes.'
complete -c runner -n '__runner_at \'runner\'' -a 'ps' -d 'List the models that are loaded or waited for.'
complete -c runner -n '__runner_at \'runner\'' -a 'why' -d 'Say why a model is where it is, and what comes next.'
complete -c runner -n '__runner_at \'runner\'' -a 'stop' -d 'Unload models; what they are answering ends first.'
complete -c runner -n '__runner_at \'runner\'' -a 'pin' -d 'Load models and keep them in memory.'
complete -c runner -n '__runner_at \'runner\'' -a 'unpin' -d 'No longer keep models in memory.'
complete -c runner -n '__runner_at \'runner\'' -a 'cp' -d 'Give a model a second name'
complete -c runner -n '__runner_at \'runner\'' -a 'rm' -d 'Remove models from the store.'
complete -c runner -n '__runner_at \'runner\'' -a 'verify' -d 'Hold the store\'s files against their digests.'
complete -c runner -n '__runner_at \'runner\'' -a 'prune' -d 'Remove the files that no model uses any more.'
complete -c runner -n '__runner_at \'runner\'' -a 'lock' -d 'Write down which files the models are made of.'
complete -c runner -n '__runner_at \'runner\'' -a 'outdated' -d 'Show what the sources of pulled models have now'
complete -c runner -n '__runner_at \'runner\'' -a 'update' -d 'Pull what is outdated, and keep the lock in step.'
complete -c runner -n '__runner_at \'runner\'' -a 'up' -d 'Pull and create what runner.yaml declares.'
complete -c runner -n '__runner_at \'runner\'' -a 'launch' -d 'Point a coding assistant at Runner, and start it.'
complete -c runner -n '__runner_at \'runner\'' -a 'doctor' -d 'Look whether all is well, and say what to do where not.'
complete -c runner -n '__runner_at \'runner\'' -a 'logs' -d 'Show what was logged.'
complete -c runner -n '__runner_at \'runner\'' -a 'bench' -d 'Measure how fast a server is, and for how many.'
complete -c runner -n '__runner_at \'runner\'' -a 'serve' -d 'Run the daemon in the foreground.'
complete -c runner -n '__runner_at \'runner\'' -a 'shutdown' -d 'End the daemon, and wait until it is gone'
complete -c runner -n '__runner_at \'runner\'' -a 'service' -d 'Have this system start Runner by itself, and watch over it.'
complete -c runner -n '__runner_at \'runner\'' -a 'generate' -d 'Print a file for containers, systemd, or a shell.'
complete -c runner -n '__runner_at \'runner\'' -a 'config' -d 'Show the settings, or change them in config.yaml.'
complete -c runner -n '__runner_at \'runner\'' -a 'ls' -d 'List the models in the store'
complete -c runner -n '__runner_within \'runner\'' -l version -s v -d 'Print Runner\'s version.'
complete -c runner -n '__runner_within \'runner\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner run\'' -l system -x -d 'Replace the system message.'
complete -c runner -n '__runner_within \'runner run\'' -l option -s o -x -d 'Set a parameter: temperature=0.'
complete -c runner -n '__runner_within \'runner run\'' -l think -a 'low medium high max true false' -d 'Let it think: --think, or --think=low, medium, high, max or false.'
complete -c runner -n '__runner_within \'runner run\'' -l no-think -d 'The same as --think=false.'
complete -c runner -n '__runner_within \'runner run\'' -l hidethinking -d 'Don\'t print its thoughts.'
complete -c runner -n '__runner_within \'runner run\'' -l format -x -a 'json' -d 'Form of the answer: json, or a JSON Schema.'
complete -c runner -n '__runner_within \'runner run\'' -l keepalive -x -d 'How long it stays loaded: 5m, 1h, 0, or -1 for ever.'
complete -c runner -n '__runner_within \'runner run\'' -l file -r -F -d 'Put a text, or a picture, to the prompt.'
complete -c runner -n '__runner_within \'runner run\'' -l image -r -F -d 'Show it a picture.'
complete -c runner -n '__runner_within \'runner run\'' -l nowordwrap -d 'Print the answer as it comes, on a terminal too.'
complete -c runner -n '__runner_within \'runner run\'' -l dimensions -x -d 'Length of the vector, for an embedding model.'
complete -c runner -n '__runner_within \'runner run\'' -l no-stdin -d 'Never read standard input.'
complete -c runner -n '__runner_within \'runner run\'' -l verbose -d 'Print timings after the answer.'
complete -c runner -n '__runner_within \'runner run\'' -l show-prompt -d 'Print the prompt that it would be given, and don\'t ask it.'
complete -c runner -n '__runner_within \'runner run\'' -l json -d 'Print the whole answer as one JSON object.'
complete -c runner -n '__runner_within \'runner run\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner run\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner run\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_at \'runner run\' 0' -a 'all-minilm aya-expanse bge-base bge-large bge-m3 bge-reranker-v2-m3 bge-small codestral cogito command-r7b deepcoder deepseek-coder-v2 deepseek-ocr deepseek-r1 devstral dolphin3 embeddinggemma eurollm falcon3 gemma2 gemma3 gemma3n gemma4 glm-4.7-flash gpt-oss granite-embedding granite3.3 granite4 hermes3 hermes4 internvl3.5 jan-nano jina-reranker-v1 jina-reranker-v2 lfm2.5 lfm2.5-vl llama3.1 llama3.2 llama3.3 magistral medgemma minicpm-v minicpm4.1 ministral-3 mistral mistral-nemo mistral-small mistral-small3.1 mixtral mxbai-embed-large nemotron-3-nano nomic-embed-text nomic-embed-text-v2-moe olmo-3 phi3.5 phi4 phi4-mini pixtral qwen2.5 qwen2.5-coder qwen2.5vl qwen3 qwen3-coder qwen3-coder-next qwen3-embedding qwen3-next qwen3-reranker qwen3-vl qwen3.5 qwq smollm2 smollm3 smolvlm smolvlm2 snowflake-arctic-embed2 tinyllama tulu3 yi-coder'
complete -c runner -n '__runner_within \'runner pull\'' -l locked -d 'Exactly what the lock file says.'
complete -c runner -n '__runner_within \'runner pull\'' -l file -s f -r -F -d 'The lock file.'
complete -c runner -n '__runner_within \'runner pull\'' -l as -x -d 'Name to give the model here.'
complete -c runner -n '__runner_within \'runner pull\'' -l limit-rate -x -d 'At most so many bytes a second, say 5MB.'
complete -c runner -n '__runner_within \'runner pull\'' -l insecure -d 'Allow plain HTTP, and certificates that nobody signed.'
complete -c runner -n '__runner_within \'runner pull\'' -l dry-run -d 'Only look: what would be fetched, and would it run here?'
complete -c runner -n '__runner_within \'runner pull\'' -l json -d 'Print progress as one JSON object a line.'
complete -c runner -n '__runner_within \'runner pull\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner pull\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner pull\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_at \'runner pull\' 0 more' -a 'all-minilm aya-expanse bge-base bge-large bge-m3 bge-reranker-v2-m3 bge-small codestral cogito command-r7b deepcoder deepseek-coder-v2 deepseek-ocr deepseek-r1 devstral dolphin3 embeddinggemma eurollm falcon3 gemma2 gemma3 gemma3n gemma4 glm-4.7-flash gpt-oss granite-embedding granite3.3 granite4 hermes3 hermes4 internvl3.5 jan-nano jina-reranker-v1 jina-reranker-v2 lfm2.5 lfm2.5-vl llama3.1 llama3.2 llama3.3 magistral medgemma minicpm-v minicpm4.1 ministral-3 mistral mistral-nemo mistral-small mistral-small3.1 mixtral mxbai-embed-large nemotron-3-nano nomic-embed-text nomic-embed-text-v2-moe olmo-3 phi3.5 phi4 phi4-mini pixtral qwen2.5 qwen2.5-coder qwen2.5vl qwen3 qwen3-coder qwen3-coder-next qwen3-embedding qwen3-next qwen3-reranker qwen3-vl qwen3.5 qwq smollm2 smollm3 smolvlm smolvlm2 snowflake-arctic-embed2 tinyllama tulu3 yi-coder'
complete -c runner -n '__runner_within \'runner push\'' -l format -x -a 'docker cncf both' -d 'docker, cncf (ModelPack), or both under two tags.'
complete -c runner -n '__runner_within \'runner push\'' -l insecure -d 'Allow plain HTTP, and certificates that nobody signed.'
complete -c runner -n '__runner_within \'runner push\'' -l json -d 'Print progress as one JSON object a line.'
complete -c runner -n '__runner_within \'runner push\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner push\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner push\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner search\'' -l limit -x -d 'Most rows of each kind, up to 100.'
complete -c runner -n '__runner_within \'runner search\'' -l catalog -d 'The catalog alone; asks no network.'
complete -c runner -n '__runner_within \'runner search\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner search\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner search\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner create\'' -l file -s f -r -F -d 'The Modelfile; - is stdin.'
complete -c runner -n '__runner_within \'runner create\'' -l quantize -s q -x -d 'Make its F16, BF16 or F32 weights of this type.'
complete -c runner -n '__runner_within \'runner create\'' -l draft-quantize -x -d 'The same for its draft model.'
complete -c runner -n '__runner_within \'runner create\'' -l imatrix -r -F -d 'An importance matrix, which --quantize goes by.'
complete -c runner -n '__runner_within \'runner create\'' -l json -d 'Print progress as one JSON object a line.'
complete -c runner -n '__runner_within \'runner create\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner create\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner create\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner adopt\'' -l all -d 'Adopt all that is there.'
complete -c runner -n '__runner_within \'runner adopt\'' -l list -d 'List what is there, and adopt nothing.'
complete -c runner -n '__runner_within \'runner adopt\'' -l detach -s d -d 'Don\'t wait: it goes on in the background.'
complete -c runner -n '__runner_within \'runner adopt\'' -l json -d 'Print JSON, and progress as one object a line.'
complete -c runner -n '__runner_within \'runner adopt\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner adopt\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner adopt\' 0' -a 'huggingface ollama lmstudio docker'
complete -c runner -n '__runner_at \'runner adopt\' 0' -F
complete -c runner -n '__runner_at \'runner adopt\' 1 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner list\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner list\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner list\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner list\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner show\'' -l modelfile -d 'Print the Modelfile.'
complete -c runner -n '__runner_within \'runner show\'' -l parameters -d 'Print the parameters.'
complete -c runner -n '__runner_within \'runner show\'' -l system -d 'Print the system message.'
complete -c runner -n '__runner_within \'runner show\'' -l template -d 'Print the template in use, and where it is from.'
complete -c runner -n '__runner_within \'runner show\'' -l license -d 'Print the licence.'
complete -c runner -n '__runner_within \'runner show\'' -l memory -d 'Print the memory it takes: by context, type of cache and device.'
complete -c runner -n '__runner_within \'runner show\'' -l verbose -s v -d 'With all metadata and tensors.'
complete -c runner -n '__runner_within \'runner show\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner show\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner show\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner show\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner plan\'' -l num-ctx -x -d 'With this context.'
complete -c runner -n '__runner_within \'runner plan\'' -l option -s o -x -d 'With this option; repeatable.'
complete -c runner -n '__runner_within \'runner plan\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner plan\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner plan\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner plan\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner ps\'' -l watch -s w -d 'Show it again and again, until Ctrl-C.'
complete -c runner -n '__runner_within \'runner ps\'' -l interval -x -d 'Time between two looks.'
complete -c runner -n '__runner_within \'runner ps\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner ps\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner ps\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner ps\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner why\'' -l option -s o -x -d 'As a request with this option would find it.'
complete -c runner -n '__runner_within \'runner why\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner why\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner why\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner why\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner stop\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner stop\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner stop\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner pin\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner pin\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner pin\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner unpin\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner unpin\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner unpin\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner cp\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner cp\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner cp\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner rm\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner rm\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner rm\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner verify\'' -l repair -d 'Fetch what is bad again from where it came.'
complete -c runner -n '__runner_within \'runner verify\'' -l sample -x -d 'Hash a share of the files (5%), or so many.'
complete -c runner -n '__runner_within \'runner verify\'' -l seed -x -d 'Choose the same sample as with this seed before.'
complete -c runner -n '__runner_within \'runner verify\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner verify\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner verify\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner verify\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner prune\'' -l grace -x -d 'Keep what is younger, 1h by default; 0 also clears leftovers.'
complete -c runner -n '__runner_within \'runner prune\'' -l dry-run -d 'Only say what would be removed.'
complete -c runner -n '__runner_within \'runner prune\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner prune\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner prune\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner lock\'' -l file -s f -r -F -d 'The lock file.'
complete -c runner -n '__runner_within \'runner lock\'' -l check -d 'Write nothing; exit 1 if the file isn\'t up to date.'
complete -c runner -n '__runner_within \'runner lock\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner lock\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner lock\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner outdated\'' -l file -s f -r -F -d 'The lock file.'
complete -c runner -n '__runner_within \'runner outdated\'' -l exit-code -d 'Exit 1 if any model is outdated.'
complete -c runner -n '__runner_within \'runner outdated\'' -l insecure -d 'Allow plain HTTP and unsigned certificates.'
complete -c runner -n '__runner_within \'runner outdated\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner outdated\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner outdated\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner outdated\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner update\'' -l file -s f -r -F -d 'The lock file.'
complete -c runner -n '__runner_within \'runner update\'' -l lock -d 'Write the lock file even if there is none yet.'
complete -c runner -n '__runner_within \'runner update\'' -l insecure -d 'Allow plain HTTP and unsigned certificates.'
complete -c runner -n '__runner_within \'runner update\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner update\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner update\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner up\'' -l file -s f -r -F -d 'The project file.'
complete -c runner -n '__runner_within \'runner up\'' -l locked -d 'Fail unless the lock file beside it has every model, as declared.'
complete -c runner -n '__runner_within \'runner up\'' -l check -d 'Change nothing; exit 1 if something has to be done.'
complete -c runner -n '__runner_within \'runner up\'' -l insecure -d 'Allow plain HTTP and unsigned certificates.'
complete -c runner -n '__runner_within \'runner up\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner up\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner up\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner launch\'' -l model -s m -x -a '(__runner_models)' -d 'The model it is to use.'
complete -c runner -n '__runner_within \'runner launch\'' -l config -d 'Only write its settings, so that it uses Runner by default.'
complete -c runner -n '__runner_within \'runner launch\'' -l restore -d 'Put its settings back as they were.'
complete -c runner -n '__runner_within \'runner launch\'' -l force -d 'With --restore: also where a file was changed since; that change stays.'
complete -c runner -n '__runner_within \'runner launch\'' -l dry-run -d 'Only show what would be written and run.'
complete -c runner -n '__runner_within \'runner launch\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner launch\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner launch\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner launch\' 0' -a 'aider claude cline codex continue copilot droid goose opencode qwen vscode zed'
complete -c runner -n '__runner_within \'runner doctor\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner doctor\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner doctor\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner logs\'' -l request -x -d 'All lines of one request; the beginning of its id will do.'
complete -c runner -n '__runner_within \'runner logs\'' -l follow -s f -d 'Go on with what is written from now on.'
complete -c runner -n '__runner_within \'runner logs\'' -l lines -s n -x -d 'Last lines, or all. [default: 50]'
complete -c runner -n '__runner_within \'runner logs\'' -l level -x -a 'debug info warning error' -d 'At least this serious: debug, info, warning, error.'
complete -c runner -n '__runner_within \'runner logs\'' -l since -x -d 'Not older than 10m, 2h, or a time of ISO 8601.'
complete -c runner -n '__runner_within \'runner logs\'' -l json -d 'Print a JSON object a line.'
complete -c runner -n '__runner_within \'runner logs\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner logs\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner logs\' 0' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner bench\'' -l url -x -d 'Server to measure: [NAME=]URL[#MODEL]. [default: the daemon]'
complete -c runner -n '__runner_within \'runner bench\'' -l compare -x -d 'Another server, in turns with the first; repeatable.'
complete -c runner -n '__runner_within \'runner bench\'' -l model -x -a '(__runner_models)' -d 'Model, where a URL names none.'
complete -c runner -n '__runner_within \'runner bench\'' -l api-key -x -d 'Key for --url, or NAME=KEY for another; env:VARIABLE reads it from there.'
complete -c runner -n '__runner_within \'runner bench\'' -l concurrency -x -d 'Users at a time, level after level. [default: 1,8,32]'
complete -c runner -n '__runner_within \'runner bench\'' -l rate -x -d 'Requests a second instead of users, level after level.'
complete -c runner -n '__runner_within \'runner bench\'' -l burstiness -x -d 'Of arrivals at a rate: 1 Poisson, less in bursts, inf evenly.'
complete -c runner -n '__runner_within \'runner bench\'' -l requests -x -d 'Requests a turn. [default: 2 a user, 8 at least]'
complete -c runner -n '__runner_within \'runner bench\'' -l duration -x -d 'Send for so long instead: 30s, 2m. [default at a rate: 30s]'
complete -c runner -n '__runner_within \'runner bench\'' -l input-tokens -x -d 'Length of prompts.'
complete -c runner -n '__runner_within \'runner bench\'' -l output-tokens -x -d 'Length of answers.'
complete -c runner -n '__runner_within \'runner bench\'' -l shared-prefix -x -d 'Tokens before each prompt that all share.'
complete -c runner -n '__runner_within \'runner bench\'' -l endpoint -x -a 'chat completions' -d 'chat or completions.'
complete -c runner -n '__runner_within \'runner bench\'' -l ignore-eos -l no-ignore-eos -d 'Ask for answers of full length, where that is known.'
complete -c runner -n '__runner_within \'runner bench\'' -l temperature -x -d 'Of the sampling.'
complete -c runner -n '__runner_within \'runner bench\'' -l extra -x -d 'More fields for every request.'
complete -c runner -n '__runner_within \'runner bench\'' -l warmup -x -d 'Requests before each turn.'
complete -c runner -n '__runner_within \'runner bench\'' -l rounds -x -d 'Times that all is done. [default: 1, or 2 to compare]'
complete -c runner -n '__runner_within \'runner bench\'' -l goal -x -d 'What makes an answer good: ttft:1s,itl:50ms; also tpot, e2e.'
complete -c runner -n '__runner_within \'runner bench\'' -l seed -x -d 'Same seed, same prompts. [default: another each time]'
complete -c runner -n '__runner_within \'runner bench\'' -l timeout -x -d 'Longest time for one request.'
complete -c runner -n '__runner_within \'runner bench\'' -l limit -x -d 'Longest time for all; what came by then is shown.'
complete -c runner -n '__runner_within \'runner bench\'' -l plot -r -F -d 'Draw the figures as SVG.'
complete -c runner -n '__runner_within \'runner bench\'' -l no-history -d 'Neither keep the figures nor compare them.'
complete -c runner -n '__runner_within \'runner bench\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner bench\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner bench\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner serve\'' -l host -x -d 'address to listen on, and to call: host:port [default: 127.0.0.1:11435]'
complete -c runner -n '__runner_within \'runner serve\'' -l models -x -a '(__fish_complete_directories)' -d 'folder of the store (default: `models` in the data folder)'
complete -c runner -n '__runner_within \'runner serve\'' -l max-loaded-models -x -d 'models in memory at once; 0 means 3 [default: 0]'
complete -c runner -n '__runner_within \'runner serve\'' -l max-memory -x -d 'memory that all models together may take of this machine\'s, that of GPUs not counted; 0 for what is free [default: 0]'
complete -c runner -n '__runner_within \'runner serve\'' -l max-queue -x -d 'requests that may wait; more are answered 503 [default: 512]'
complete -c runner -n '__runner_within \'runner serve\'' -l queue-timeout -x -d 'how long a request may wait in the queue before it is answered 503; negative means for ever [default: -1]'
complete -c runner -n '__runner_within \'runner serve\'' -l pin -x -d 'models that are loaded at the start and stay in memory, comma-separated'
complete -c runner -n '__runner_within \'runner serve\'' -l keep-alive -x -d 'how long an idle model stays loaded; negative means for ever [default: 5m]'
complete -c runner -n '__runner_within \'runner serve\'' -l context-length -x -d 'tokens of one request; 0 for what the model takes and memory holds, at most 8192, or 32768 on a GPU [default: 0]'
complete -c runner -n '__runner_within \'runner serve\'' -l num-parallel -x -d 'sequences that one model decodes together: auto (up to 128, as memory allows) or 1 to 256 [default: auto]'
complete -c runner -n '__runner_within \'runner serve\'' -l prefix-ram -x -d 'memory of each model for prompts that lost their cells; 0 for none [default: 512MB]'
complete -c runner -n '__runner_within \'runner serve\'' -l prefix-disk -x -d 'disk space for prompts computed before, all models; 0 keeps none [default: 4GB]'
complete -c runner -n '__runner_within \'runner serve\'' -l aliases -x -d 'names that stand for models: claude-*=demo,gpt-4=qwen3; * is any characters'
complete -c runner -n '__runner_within \'runner serve\'' -l options -x -d 'options for every model: num_ctx=4096,temperature=0'
complete -c runner -n '__runner_within \'runner serve\'' -l per-model -x -d 'options, keep_alive and pin for single models, by name'
complete -c runner -n '__runner_within \'runner serve\'' -l stored-responses -x -d 'answers of /v1/responses to keep in memory; 0 keeps none [default: 1000]'
complete -c runner -n '__runner_within \'runner serve\'' -l stored-responses-size -x -d 'memory for them; the longest unused are forgotten first [default: 64MB]'
complete -c runner -n '__runner_within \'runner serve\'' -l request-log -x -d 'ended requests to keep a record of, without their texts; 0 keeps none [default: 200]'
complete -c runner -n '__runner_within \'runner serve\'' -l request-bodies -x -d 'keep what they asked and were answered as well: prompts, answers and JSON, in memory only [default: False]'
complete -c runner -n '__runner_within \'runner serve\'' -l load-timeout -x -d 'how long a load may go on without a sign of progress [default: 5m]'
complete -c runner -n '__runner_within \'runner serve\'' -l sandbox -x -a 'on strict off' -d 'keep the processes that run models to their own files, off the network: on (as far as this system can), strict (or load nothing), off [default: on]'
complete -c runner -n '__runner_within \'runner serve\'' -l spare-worker -x -a 'true false' -d 'while models are in use, have a process ready that loads the next one [default: True]'
complete -c runner -n '__runner_within \'runner serve\'' -l api-key -x -d 'key that clients must send; required when listening beyond loopback'
complete -c runner -n '__runner_within \'runner serve\'' -l origins -x -d 'web origins allowed beside loopback ones, comma-separated'
complete -c runner -n '__runner_within \'runner serve\'' -l allowed-hosts -x -d 'host names accepted in the Host header beside loopback ones'
complete -c runner -n '__runner_within \'runner serve\'' -l image-urls -x -d 'where images may be fetched from: host names or networks, comma-separated; * for any public address'
complete -c runner -n '__runner_within \'runner serve\'' -l max-body -x -d 'largest request body, blobs apart [default: 64MB]'
complete -c runner -n '__runner_within \'runner serve\'' -l registries -x -d 'hosts that models may come from and go to, such as runner.local,hf.co,ghcr.io; empty for any'
complete -c runner -n '__runner_within \'runner serve\'' -l download-rate -x -d 'bytes a second that downloads take at most; 0 for no limit [default: 0]'
complete -c runner -n '__runner_within \'runner serve\'' -l download-connections -x -d 'connections to one host at once while pulling and pushing [default: 8]'
complete -c runner -n '__runner_within \'runner serve\'' -l adopt-from -x -d 'tools on this machine whose files a pull may use: huggingface, ollama, docker, comma-separated; none for none [default: huggingface,ollama,docker]'
complete -c runner -n '__runner_within \'runner serve\'' -l log-level -x -a 'debug info warning error' -d 'least serious message that is logged [default: info]'
complete -c runner -n '__runner_within \'runner serve\'' -l log-format -x -d 'how the daemon\'s log file is written: json or text [default: json]'
complete -c runner -n '__runner_within \'runner serve\'' -l log-size -x -d 'size of a log file before the next is begun; 0 keeps none [default: 10MB]'
complete -c runner -n '__runner_within \'runner serve\'' -l log-files -x -d 'older log files of the daemon that are kept [default: 5]'
complete -c runner -n '__runner_within \'runner serve\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner shutdown\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner shutdown\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner service\'' -l system -d 'The machine\'s service, which starts at boot; needs root.'
complete -c runner -n '__runner_within \'runner service\'' -l user -d 'The service of this user, as without it; root has to say so.'
complete -c runner -n '__runner_within \'runner service\'' -l as -x -d 'With --system: run as this user, not as one made up.'
complete -c runner -n '__runner_within \'runner service\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner service\'' -l dry-run -d 'Print files and commands, and do nothing.'
complete -c runner -n '__runner_within \'runner service\'' -l fresh -d 'With install: forget what was taken along before, and isn\'t set now.'
complete -c runner -n '__runner_within \'runner service\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner service\' 0' -a 'install start stop restart status uninstall'
complete -c runner -n '__runner_at \'runner generate\'' -a 'compose' -d 'a compose file, for docker and podman'
complete -c runner -n '__runner_at \'runner generate\'' -a 'quadlet' -d 'a unit of podman\'s (quadlet)'
complete -c runner -n '__runner_at \'runner generate\'' -a 'systemd' -d 'a unit of systemd\'s, without a container'
complete -c runner -n '__runner_at \'runner generate\'' -a 'kube' -d 'for Kubernetes, or podman kube play'
complete -c runner -n '__runner_at \'runner generate\'' -a 'completion' -d 'completion for a shell'
complete -c runner -n '__runner_within \'runner generate\'' -l port -x -d 'Where it is reached on the machine.'
complete -c runner -n '__runner_within \'runner generate\'' -l publish -x -d 'The machine\'s address that it is reached at: beyond loopback, or 0.0.0.0 for all.'
complete -c runner -n '__runner_within \'runner generate\'' -l gpu -x -a 'cuda rocm vulkan none' -d 'The GPU to hand over.'
complete -c runner -n '__runner_within \'runner generate\'' -l image -x -d 'The image; made of installer/Containerfile.'
complete -c runner -n '__runner_within \'runner generate\'' -l name -x -d 'What it is called; runner without it.'
complete -c runner -n '__runner_within \'runner generate\'' -l api-key-file -r -F -d 'The file with the key (compose), or with variables (systemd).'
complete -c runner -n '__runner_within \'runner generate\'' -l secret -x -d 'The secret with the key (quadlet, kube); NAME-api-key without it.'
complete -c runner -n '__runner_within \'runner generate\'' -l namespace -x -d 'Kubernetes\'s; default without it.'
complete -c runner -n '__runner_within \'runner generate\'' -l output -s o -x -a '(__fish_complete_directories)' -d 'Write it there, instead of printing it.'
complete -c runner -n '__runner_within \'runner generate\'' -l force -d 'With --output: also over a file that says other things.'
complete -c runner -n '__runner_within \'runner generate\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l port -x -d 'Where it is reached on the machine.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l publish -x -d 'The machine\'s address that it is reached at: beyond loopback, or 0.0.0.0 for all.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l gpu -x -a 'cuda rocm vulkan none' -d 'The GPU to hand over.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l image -x -d 'The image; made of installer/Containerfile.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l name -x -d 'What it is called; runner without it.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l api-key-file -r -F -d 'The file with the key (compose), or with variables (systemd).'
complete -c runner -n '__runner_within \'runner generate compose\'' -l secret -x -d 'The secret with the key (quadlet, kube); NAME-api-key without it.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l namespace -x -d 'Kubernetes\'s; default without it.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l output -s o -x -a '(__fish_complete_directories)' -d 'Write it there, instead of printing it.'
complete -c runner -n '__runner_within \'runner generate compose\'' -l force -d 'With --output: also over a file that says other things.'
complete -c runner -n '__runner_within \'runner generate compose\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner generate compose\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l port -x -d 'Where it is reached on the machine.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l publish -x -d 'The machine\'s address that it is reached at: beyond loopback, or 0.0.0.0 for all.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l gpu -x -a 'cuda rocm vulkan none' -d 'The GPU to hand over.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l image -x -d 'The image; made of installer/Containerfile.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l name -x -d 'What it is called; runner without it.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l api-key-file -r -F -d 'The file with the key (compose), or with variables (systemd).'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l secret -x -d 'The secret with the key (quadlet, kube); NAME-api-key without it.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l namespace -x -d 'Kubernetes\'s; default without it.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l output -s o -x -a '(__fish_complete_directories)' -d 'Write it there, instead of printing it.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -l force -d 'With --output: also over a file that says other things.'
complete -c runner -n '__runner_within \'runner generate quadlet\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner generate quadlet\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l port -x -d 'Where it is reached on the machine.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l publish -x -d 'The machine\'s address that it is reached at: beyond loopback, or 0.0.0.0 for all.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l gpu -x -a 'cuda rocm vulkan none' -d 'The GPU to hand over.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l image -x -d 'The image; made of installer/Containerfile.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l name -x -d 'What it is called; runner without it.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l api-key-file -r -F -d 'The file with the key (compose), or with variables (systemd).'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l secret -x -d 'The secret with the key (quadlet, kube); NAME-api-key without it.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l namespace -x -d 'Kubernetes\'s; default without it.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l output -s o -x -a '(__fish_complete_directories)' -d 'Write it there, instead of printing it.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -l force -d 'With --output: also over a file that says other things.'
complete -c runner -n '__runner_within \'runner generate systemd\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner generate systemd\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner generate kube\'' -l port -x -d 'Where it is reached on the machine.'
complete -c runner -n '__runner_within \'runner generate kube\'' -l publish -x -d 'The machine\'s address that it is reached at: beyond loopback, or 0.0.0.0 for all.'
complete -c runner -n '__runner_within \'runner generate kube\'' -l gpu -x -a 'cuda rocm vulkan none' -d 'The GPU to hand over.'
complete -c runner -n '__runner_within \'runner generate kube\'' -l image -x -d 'The image; made of installer/Containerfile.'
complete -c runner -n '__runner_within \'runner generate kube\'' -l name -x -d 'What it is called; runner without it.'
complete -c runner -n '__runner_within \'runner generate kube\'' -l api-key-file -r -F -d 'The file with the key (compose), or with variables (systemd).'
complete -c runner -n '__runner_within \'runner generate kube\'' -l secret -x -d 'The secret with the key (quadlet, kube); NAME-api-key without it.'
complete -c runner -n '__runner_within \'runner generate kube\'' -l namespace -x -d 'Kubernetes\'s; default without it.'
complete -c runner -n '__runner_within \'runner generate kube\'' -l output -s o -x -a '(__fish_complete_directories)' -d 'Write it there, instead of printing it.'
complete -c runner -n '__runner_within \'runner generate kube\'' -l force -d 'With --output: also over a file that says other things.'
complete -c runner -n '__runner_within \'runner generate kube\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner generate kube\' 0 more' -a '(__runner_models)'
complete -c runner -n '__runner_within \'runner generate completion\'' -l port -x -d 'Where it is reached on the machine.'
complete -c runner -n '__runner_within \'runner generate completion\'' -l publish -x -d 'The machine\'s address that it is reached at: beyond loopback, or 0.0.0.0 for all.'
complete -c runner -n '__runner_within \'runner generate completion\'' -l gpu -x -a 'cuda rocm vulkan none' -d 'The GPU to hand over.'
complete -c runner -n '__runner_within \'runner generate completion\'' -l image -x -d 'The image; made of installer/Containerfile.'
complete -c runner -n '__runner_within \'runner generate completion\'' -l name -x -d 'What it is called; runner without it.'
complete -c runner -n '__runner_within \'runner generate completion\'' -l api-key-file -r -F -d 'The file with the key (compose), or with variables (systemd).'
complete -c runner -n '__runner_within \'runner generate completion\'' -l secret -x -d 'The secret with the key (quadlet, kube); NAME-api-key without it.'
complete -c runner -n '__runner_within \'runner generate completion\'' -l namespace -x -d 'Kubernetes\'s; default without it.'
complete -c runner -n '__runner_within \'runner generate completion\'' -l output -s o -x -a '(__fish_complete_directories)' -d 'Write it there, instead of printing it.'
complete -c runner -n '__runner_within \'runner generate completion\'' -l force -d 'With --output: also over a file that says other things.'
complete -c runner -n '__runner_within \'runner generate completion\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner generate completion\' 0' -a 'bash zsh fish powershell'
complete -c runner -n '__runner_within \'runner config\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner config\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner config\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner config\' 0' -a 'get set unset reload'
complete -c runner -n '__runner_at \'runner config\' 1' -a 'host models max_loaded_models max_memory max_queue queue_timeout pin keep_alive context_length num_parallel prefix_ram prefix_disk aliases options per_model stored_responses stored_responses_size request_log request_bodies load_timeout sandbox spare_worker api_key origins allowed_hosts image_urls max_body registries download_rate download_connections adopt_from autostart log_level log_format log_size log_files'
complete -c runner -n '__runner_within \'runner ls\'' -l json -d 'Print JSON.'
complete -c runner -n '__runner_within \'runner ls\'' -l host -x -d 'Address of the daemon.'
complete -c runner -n '__runner_within \'runner ls\'' -s h -l help -d 'Show what it does and takes.'
complete -c runner -n '__runner_at \'runner ls\' 0' -a '(__runner_models)'
