# Completion of `runner` for PowerShell, written by `runner generate completion powershell`. Starts no Python: models'
# names come from a file that the daemon keeps.

$script:RunnerCommands = @{
    'runner' = @{
        Verbs = @(@('run', 'Ask a model, or chat with it.'), @('pull', 'Bring a model into the store.'), @('push', 'Publish a model in a container registry.'), @('search', 'Find models to pull.'), @('create', 'Create a model from a Modelfile'), @('adopt', 'Use models that other tools have, without a copy.'), @('list', 'List the models in the store'), @('show', 'Show what is known about a model.'), @('plan', 'Tell where a model would go, and what that takes.'), @('ps', 'List the models that are loaded or waited for.'), @('why', 'Say why a model is where it is, and what comes next.'), @('stop', 'Unload models; what they are answering ends first.'), @('pin', 'Load models and keep them in memory.'), @('unpin', 'No longer keep models in memory.'), @('cp', 'Give a model a second name'), @('rm', 'Remove models from the store.'), @('verify', 'Hold the store''s files against their digests.'), @('prune', 'Remove the files that no model uses any more.'), @('lock', 'Write down which files the models are made of.'), @('outdated', 'Show what the sources of pulled models have now'), @('update', 'Pull what is outdated, and keep the lock in step.'), @('up', 'Pull and create what runner.yaml declares.'), @('launch', 'Point a coding assistant at Runner, and start it.'), @('doctor', 'Look whether all is well, and say what to do where not.'), @('logs', 'Show what was logged.'), @('bench', 'Measure how fast a server is, and for how many.'), @('serve', 'Run the daemon in the foreground.'), @('shutdown', 'End the daemon, and wait until it is gone'), @('service', 'Have this system start Runner by itself, and watch over it.'), @('generate', 'Print a file for containers, systemd, or a shell.'), @('config', 'Show the settings, or change them in config.yaml.'), @('ls', 'List the models in the store'))
        Arguments = @()
        Repeats = $false
        Options = @{
            '-v' = @('', 'Print Runner''s version.')
            '--version' = @('', 'Print Runner''s version.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner run' = @{
        Verbs = @()
        Arguments = @('models =all-minilm =aya-expanse =bge-base =bge-large =bge-m3 =bge-reranker-v2-m3 =bge-small =codestral =cogito =command-r7b =deepcoder =deepseek-coder-v2 =deepseek-ocr =deepseek-r1 =devstral =dolphin3 =embeddinggemma =eurollm =falcon3 =gemma2 =gemma3 =gemma3n =gemma4 =glm-4.7-flash =gpt-oss =granite-embedding =granite3.3 =granite4 =hermes3 =hermes4 =internvl3.5 =jan-nano =jina-reranker-v1 =jina-reranker-v2 =lfm2.5 =lfm2.5-vl =llama3.1 =llama3.2 =llama3.3 =magistral =medgemma =minicpm-v =minicpm4.1 =ministral-3 =mistral =mistral-nemo =mistral-small =mistral-small3.1 =mixtral =mxbai-embed-large =nemotron-3-nano =nomic-embed-text =nomic-embed-text-v2-moe =olmo-3 =phi3.5 =phi4 =phi4-mini =pixtral =qwen2.5 =qwen2.5-coder =qwen2.5vl =qwen3 =qwen3-coder =qwen3-coder-next =qwen3-embedding =qwen3-next =qwen3-reranker =qwen3-vl =qwen3.5 =qwq =smollm2 =smollm3 =smolvlm =smolvlm2 =snowflake-arctic-embed2 =tinyllama =tulu3 =yi-coder', 'any')
        Repeats = $true
        Options = @{
            '--system' = @('any', 'Replace the system message.')
            '-o' = @('any', 'Set a parameter: temperature=0.')
            '--option' = @('any', 'Set a parameter: temperature=0.')
            '--think' = @('optional =low =medium =high =max =true =false', 'Let it think: --think, or --think=low, medium, high, max or false.')
            '--no-think' = @('', 'The same as --think=false.')
            '--hidethinking' = @('', 'Don''t print its thoughts.')
            '--format' = @('=json', 'Form of the answer: json, or a JSON Schema.')
            '--keepalive' = @('any', 'How long it stays loaded: 5m, 1h, 0, or -1 for ever.')
            '--file' = @('files', 'Put a text, or a picture, to the prompt.')
            '--image' = @('files', 'Show it a picture.')
            '--nowordwrap' = @('', 'Print the answer as it comes, on a terminal too.')
            '--dimensions' = @('any', 'Length of the vector, for an embedding model.')
            '--no-stdin' = @('', 'Never read standard input.')
            '--verbose' = @('', 'Print timings after the answer.')
            '--show-prompt' = @('', 'Print the prompt that it would be given, and don''t ask it.')
            '--json' = @('', 'Print the whole answer as one JSON object.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner pull' = @{
        Verbs = @()
        Arguments = @('models =all-minilm =aya-expanse =bge-base =bge-large =bge-m3 =bge-reranker-v2-m3 =bge-small =codestral =cogito =command-r7b =deepcoder =deepseek-coder-v2 =deepseek-ocr =deepseek-r1 =devstral =dolphin3 =embeddinggemma =eurollm =falcon3 =gemma2 =gemma3 =gemma3n =gemma4 =glm-4.7-flash =gpt-oss =granite-embedding =granite3.3 =granite4 =hermes3 =hermes4 =internvl3.5 =jan-nano =jina-reranker-v1 =jina-reranker-v2 =lfm2.5 =lfm2.5-vl =llama3.1 =llama3.2 =llama3.3 =magistral =medgemma =minicpm-v =minicpm4.1 =ministral-3 =mistral =mistral-nemo =mistral-small =mistral-small3.1 =mixtral =mxbai-embed-large =nemotron-3-nano =nomic-embed-text =nomic-embed-text-v2-moe =olmo-3 =phi3.5 =phi4 =phi4-mini =pixtral =qwen2.5 =qwen2.5-coder =qwen2.5vl =qwen3 =qwen3-coder =qwen3-coder-next =qwen3-embedding =qwen3-next =qwen3-reranker =qwen3-vl =qwen3.5 =qwq =smollm2 =smollm3 =smolvlm =smolvlm2 =snowflake-arctic-embed2 =tinyllama =tulu3 =yi-coder')
        Repeats = $true
        Options = @{
            '--locked' = @('', 'Exactly what the lock file says.')
            '-f' = @('files', 'The lock file.')
            '--file' = @('files', 'The lock file.')
            '--as' = @('any', 'Name to give the model here.')
            '--limit-rate' = @('any', 'At most so many bytes a second, say 5MB.')
            '--insecure' = @('', 'Allow plain HTTP, and certificates that nobody signed.')
            '--dry-run' = @('', 'Only look: what would be fetched, and would it run here?')
            '--json' = @('', 'Print progress as one JSON object a line.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner push' = @{
        Verbs = @()
        Arguments = @('models', 'any')
        Repeats = $false
        Options = @{
            '--format' = @('=docker =cncf =both', 'docker, cncf (ModelPack), or both under two tags.')
            '--insecure' = @('', 'Allow plain HTTP, and certificates that nobody signed.')
            '--json' = @('', 'Print progress as one JSON object a line.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner search' = @{
        Verbs = @()
        Arguments = @('any')
        Repeats = $false
        Options = @{
            '--limit' = @('any', 'Most rows of each kind, up to 100.')
            '--catalog' = @('', 'The catalog alone; asks no network.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner create' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $false
        Options = @{
            '-f' = @('files', 'The Modelfile; - is stdin.')
            '--file' = @('files', 'The Modelfile; - is stdin.')
            '-q' = @('any', 'Make its F16, BF16 or F32 weights of this type.')
            '--quantize' = @('any', 'Make its F16, BF16 or F32 weights of this type.')
            '--draft-quantize' = @('any', 'The same for its draft model.')
            '--imatrix' = @('files', 'An importance matrix, which --quantize goes by.')
            '--json' = @('', 'Print progress as one JSON object a line.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner adopt' = @{
        Verbs = @()
        Arguments = @('files =huggingface =ollama =lmstudio =docker', 'models')
        Repeats = $true
        Options = @{
            '--all' = @('', 'Adopt all that is there.')
            '--list' = @('', 'List what is there, and adopt nothing.')
            '-d' = @('', 'Don''t wait: it goes on in the background.')
            '--detach' = @('', 'Don''t wait: it goes on in the background.')
            '--json' = @('', 'Print JSON, and progress as one object a line.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner list' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $false
        Options = @{
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner show' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $false
        Options = @{
            '--modelfile' = @('', 'Print the Modelfile.')
            '--parameters' = @('', 'Print the parameters.')
            '--system' = @('', 'Print the system message.')
            '--template' = @('', 'Print the template in use, and where it is from.')
            '--license' = @('', 'Print the licence.')
            '--memory' = @('', 'Print the memory it takes: by context, type of cache and device.')
            '-v' = @('', 'With all metadata and tensors.')
            '--verbose' = @('', 'With all metadata and tensors.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner plan' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $false
        Options = @{
            '--num-ctx' = @('any', 'With this context.')
            '-o' = @('any', 'With this option; repeatable.')
            '--option' = @('any', 'With this option; repeatable.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner ps' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $false
        Options = @{
            '-w' = @('', 'Show it again and again, until Ctrl-C.')
            '--watch' = @('', 'Show it again and again, until Ctrl-C.')
            '--interval' = @('any', 'Time between two looks.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner why' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $false
        Options = @{
            '-o' = @('any', 'As a request with this option would find it.')
            '--option' = @('any', 'As a request with this option would find it.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner stop' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner pin' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner unpin' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner cp' = @{
        Verbs = @()
        Arguments = @('models', 'any')
        Repeats = $false
        Options = @{
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner rm' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner verify' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--repair' = @('', 'Fetch what is bad again from where it came.')
            '--sample' = @('any', 'Hash a share of the files (5%), or so many.')
            '--seed' = @('any', 'Choose the same sample as with this seed before.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner prune' = @{
        Verbs = @()
        Arguments = @()
        Repeats = $false
        Options = @{
            '--grace' = @('any', 'Keep what is younger, 1h by default; 0 also clears leftovers.')
            '--dry-run' = @('', 'Only say what would be removed.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner lock' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '-f' = @('files', 'The lock file.')
            '--file' = @('files', 'The lock file.')
            '--check' = @('', 'Write nothing; exit 1 if the file isn''t up to date.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner outdated' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '-f' = @('files', 'The lock file.')
            '--file' = @('files', 'The lock file.')
            '--exit-code' = @('', 'Exit 1 if any model is outdated.')
            '--insecure' = @('', 'Allow plain HTTP and unsigned certificates.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner update' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '-f' = @('files', 'The lock file.')
            '--file' = @('files', 'The lock file.')
            '--lock' = @('', 'Write the lock file even if there is none yet.')
            '--insecure' = @('', 'Allow plain HTTP and unsigned certificates.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner up' = @{
        Verbs = @()
        Arguments = @()
        Repeats = $false
        Options = @{
            '-f' = @('files', 'The project file.')
            '--file' = @('files', 'The project file.')
            '--locked' = @('', 'Fail unless the lock file beside it has every model, as declared.')
            '--check' = @('', 'Change nothing; exit 1 if something has to be done.')
            '--insecure' = @('', 'Allow plain HTTP and unsigned certificates.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner launch' = @{
        Verbs = @()
        Arguments = @('=aider =claude =cline =codex =continue =copilot =droid =goose =opencode =qwen =vscode =zed', 'any')
        Repeats = $true
        Options = @{
            '-m' = @('models', 'The model it is to use.')
            '--model' = @('models', 'The model it is to use.')
            '--config' = @('', 'Only write its settings, so that it uses Runner by default.')
            '--restore' = @('', 'Put its settings back as they were.')
            '--force' = @('', 'With --restore: also where a file was changed since; that change stays.')
            '--dry-run' = @('', 'Only show what would be written and run.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner doctor' = @{
        Verbs = @()
        Arguments = @()
        Repeats = $false
        Options = @{
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner logs' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $false
        Options = @{
            '--request' = @('any', 'All lines of one request; the beginning of its id will do.')
            '-f' = @('', 'Go on with what is written from now on.')
            '--follow' = @('', 'Go on with what is written from now on.')
            '-n' = @('any', 'Last lines, or all. [default: 50]')
            '--lines' = @('any', 'Last lines, or all. [default: 50]')
            '--level' = @('=debug =info =warning =error', 'At least this serious: debug, info, warning, error.')
            '--since' = @('any', 'Not older than 10m, 2h, or a time of ISO 8601.')
            '--json' = @('', 'Print a JSON object a line.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner bench' = @{
        Verbs = @()
        Arguments = @()
        Repeats = $false
        Options = @{
            '--url' = @('any', 'Server to measure: [NAME=]URL[#MODEL]. [default: the daemon]')
            '--compare' = @('any', 'Another server, in turns with the first; repeatable.')
            '--model' = @('models', 'Model, where a URL names none.')
            '--api-key' = @('any', 'Key for --url, or NAME=KEY for another; env:VARIABLE reads it from there.')
            '--concurrency' = @('any', 'Users at a time, level after level. [default: 1,8,32]')
            '--rate' = @('any', 'Requests a second instead of users, level after level.')
            '--burstiness' = @('any', 'Of arrivals at a rate: 1 Poisson, less in bursts, inf evenly.')
            '--requests' = @('any', 'Requests a turn. [default: 2 a user, 8 at least]')
            '--duration' = @('any', 'Send for so long instead: 30s, 2m. [default at a rate: 30s]')
            '--input-tokens' = @('any', 'Length of prompts.')
            '--output-tokens' = @('any', 'Length of answers.')
            '--shared-prefix' = @('any', 'Tokens before each prompt that all share.')
            '--endpoint' = @('=chat =completions', 'chat or completions.')
            '--no-ignore-eos' = @('', 'Ask for answers of full length, where that is known.')
            '--ignore-eos' = @('', 'Ask for answers of full length, where that is known.')
            '--temperature' = @('any', 'Of the sampling.')
            '--extra' = @('any', 'More fields for every request.')
            '--warmup' = @('any', 'Requests before each turn.')
            '--rounds' = @('any', 'Times that all is done. [default: 1, or 2 to compare]')
            '--goal' = @('any', 'What makes an answer good: ttft:1s,itl:50ms; also tpot, e2e.')
            '--seed' = @('any', 'Same seed, same prompts. [default: another each time]')
            '--timeout' = @('any', 'Longest time for one request.')
            '--limit' = @('any', 'Longest time for all; what came by then is shown.')
            '--plot' = @('files', 'Draw the figures as SVG.')
            '--no-history' = @('', 'Neither keep the figures nor compare them.')
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner serve' = @{
        Verbs = @()
        Arguments = @()
        Repeats = $false
        Options = @{
            '--host' = @('any', 'address to listen on, and to call: host:port [default: 127.0.0.1:11435]')
            '--models' = @('folders', 'folder of the store (default: `models` in the data folder)')
            '--max-loaded-models' = @('any', 'models in memory at once; 0 means 3 [default: 0]')
            '--max-memory' = @('any', 'memory that all models together may take of this machine''s, that of GPUs not counted; 0 for what is free [default: 0]')
            '--max-queue' = @('any', 'requests that may wait; more are answered 503 [default: 512]')
            '--queue-timeout' = @('any', 'how long a request may wait in the queue before it is answered 503; negative means for ever [default: -1]')
            '--pin' = @('any', 'models that are loaded at the start and stay in memory, comma-separated')
            '--keep-alive' = @('any', 'how long an idle model stays loaded; negative means for ever [default: 5m]')
            '--context-length' = @('any', 'tokens of one request; 0 for what the model takes and memory holds, at most 8192, or 32768 on a GPU [default: 0]')
            '--num-parallel' = @('any', 'sequences that one model decodes together: auto (up to 128, as memory allows) or 1 to 256 [default: auto]')
            '--prefix-ram' = @('any', 'memory of each model for prompts that lost their cells; 0 for none [default: 512MB]')
            '--prefix-disk' = @('any', 'disk space for prompts computed before, all models; 0 keeps none [default: 4GB]')
            '--aliases' = @('any', 'names that stand for models: claude-*=demo,gpt-4=qwen3; * is any characters')
            '--options' = @('any', 'options for every model: num_ctx=4096,temperature=0')
            '--per-model' = @('any', 'options, keep_alive and pin for single models, by name')
            '--stored-responses' = @('any', 'answers of /v1/responses to keep in memory; 0 keeps none [default: 1000]')
            '--stored-responses-size' = @('any', 'memory for them; the longest unused are forgotten first [default: 64MB]')
            '--request-log' = @('any', 'ended requests to keep a record of, without their texts; 0 keeps none [default: 200]')
            '--request-bodies' = @('any', 'keep what they asked and were answered as well: prompts, answers and JSON, in memory only [default: False]')
            '--load-timeout' = @('any', 'how long a load may go on without a sign of progress [default: 5m]')
            '--sandbox' = @('=on =strict =off', 'keep the processes that run models to their own files, off the network: on (as far as this system can), strict (or load nothing), off [default: on]')
            '--spare-worker' = @('=true =false', 'while models are in use, have a process ready that loads the next one [default: True]')
            '--api-key' = @('any', 'key that clients must send; required when listening beyond loopback')
            '--origins' = @('any', 'web origins allowed beside loopback ones, comma-separated')
            '--allowed-hosts' = @('any', 'host names accepted in the Host header beside loopback ones')
            '--image-urls' = @('any', 'where images may be fetched from: host names or networks, comma-separated; * for any public address')
            '--max-body' = @('any', 'largest request body, blobs apart [default: 64MB]')
            '--registries' = @('any', 'hosts that models may come from and go to, such as runner.local,hf.co,ghcr.io; empty for any')
            '--download-rate' = @('any', 'bytes a second that downloads take at most; 0 for no limit [default: 0]')
            '--download-connections' = @('any', 'connections to one host at once while pulling and pushing [default: 8]')
            '--adopt-from' = @('any', 'tools on this machine whose files a pull may use: huggingface, ollama, docker, comma-separated; none for none [default: huggingface,ollama,docker]')
            '--log-level' = @('=debug =info =warning =error', 'least serious message that is logged [default: info]')
            '--log-format' = @('any', 'how the daemon''s log file is written: json or text [default: json]')
            '--log-size' = @('any', 'size of a log file before the next is begun; 0 keeps none [default: 10MB]')
            '--log-files' = @('any', 'older log files of the daemon that are kept [default: 5]')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner shutdown' = @{
        Verbs = @()
        Arguments = @()
        Repeats = $false
        Options = @{
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner service' = @{
        Verbs = @()
        Arguments = @('=install =start =stop =restart =status =uninstall')
        Repeats = $false
        Options = @{
            '--system' = @('', 'The machine''s service, which starts at boot; needs root.')
            '--user' = @('', 'The service of this user, as without it; root has to say so.')
            '--as' = @('any', 'With --system: run as this user, not as one made up.')
            '--json' = @('', 'Print JSON.')
            '--dry-run' = @('', 'Print files and commands, and do nothing.')
            '--fresh' = @('', 'With install: forget what was taken along before, and isn''t set now.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner generate' = @{
        Verbs = @(@('compose', 'a compose file, for docker and podman'), @('quadlet', 'a unit of podman''s (quadlet)'), @('systemd', 'a unit of systemd''s, without a container'), @('kube', 'for Kubernetes, or podman kube play'), @('completion', 'completion for a shell'))
        Arguments = @()
        Repeats = $false
        Options = @{
            '--port' = @('any', 'Where it is reached on the machine.')
            '--publish' = @('any', 'The machine''s address that it is reached at: beyond loopback, or 0.0.0.0 for all.')
            '--gpu' = @('=cuda =rocm =vulkan =none', 'The GPU to hand over.')
            '--image' = @('any', 'The image; made of installer/Containerfile.')
            '--name' = @('any', 'What it is called; runner without it.')
            '--api-key-file' = @('files', 'The file with the key (compose), or with variables (systemd).')
            '--secret' = @('any', 'The secret with the key (quadlet, kube); NAME-api-key without it.')
            '--namespace' = @('any', 'Kubernetes''s; default without it.')
            '-o' = @('folders', 'Write it there, instead of printing it.')
            '--output' = @('folders', 'Write it there, instead of printing it.')
            '--force' = @('', 'With --output: also over a file that says other things.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner generate compose' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--port' = @('any', 'Where it is reached on the machine.')
            '--publish' = @('any', 'The machine''s address that it is reached at: beyond loopback, or 0.0.0.0 for all.')
            '--gpu' = @('=cuda =rocm =vulkan =none', 'The GPU to hand over.')
            '--image' = @('any', 'The image; made of installer/Containerfile.')
            '--name' = @('any', 'What it is called; runner without it.')
            '--api-key-file' = @('files', 'The file with the key (compose), or with variables (systemd).')
            '--secret' = @('any', 'The secret with the key (quadlet, kube); NAME-api-key without it.')
            '--namespace' = @('any', 'Kubernetes''s; default without it.')
            '-o' = @('folders', 'Write it there, instead of printing it.')
            '--output' = @('folders', 'Write it there, instead of printing it.')
            '--force' = @('', 'With --output: also over a file that says other things.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner generate quadlet' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--port' = @('any', 'Where it is reached on the machine.')
            '--publish' = @('any', 'The machine''s address that it is reached at: beyond loopback, or 0.0.0.0 for all.')
            '--gpu' = @('=cuda =rocm =vulkan =none', 'The GPU to hand over.')
            '--image' = @('any', 'The image; made of installer/Containerfile.')
            '--name' = @('any', 'What it is called; runner without it.')
            '--api-key-file' = @('files', 'The file with the key (compose), or with variables (systemd).')
            '--secret' = @('any', 'The secret with the key (quadlet, kube); NAME-api-key without it.')
            '--namespace' = @('any', 'Kubernetes''s; default without it.')
            '-o' = @('folders', 'Write it there, instead of printing it.')
            '--output' = @('folders', 'Write it there, instead of printing it.')
            '--force' = @('', 'With --output: also over a file that says other things.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner generate systemd' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--port' = @('any', 'Where it is reached on the machine.')
            '--publish' = @('any', 'The machine''s address that it is reached at: beyond loopback, or 0.0.0.0 for all.')
            '--gpu' = @('=cuda =rocm =vulkan =none', 'The GPU to hand over.')
            '--image' = @('any', 'The image; made of installer/Containerfile.')
            '--name' = @('any', 'What it is called; runner without it.')
            '--api-key-file' = @('files', 'The file with the key (compose), or with variables (systemd).')
            '--secret' = @('any', 'The secret with the key (quadlet, kube); NAME-api-key without it.')
            '--namespace' = @('any', 'Kubernetes''s; default without it.')
            '-o' = @('folders', 'Write it there, instead of printing it.')
            '--output' = @('folders', 'Write it there, instead of printing it.')
            '--force' = @('', 'With --output: also over a file that says other things.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner generate kube' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $true
        Options = @{
            '--port' = @('any', 'Where it is reached on the machine.')
            '--publish' = @('any', 'The machine''s address that it is reached at: beyond loopback, or 0.0.0.0 for all.')
            '--gpu' = @('=cuda =rocm =vulkan =none', 'The GPU to hand over.')
            '--image' = @('any', 'The image; made of installer/Containerfile.')
            '--name' = @('any', 'What it is called; runner without it.')
            '--api-key-file' = @('files', 'The file with the key (compose), or with variables (systemd).')
            '--secret' = @('any', 'The secret with the key (quadlet, kube); NAME-api-key without it.')
            '--namespace' = @('any', 'Kubernetes''s; default without it.')
            '-o' = @('folders', 'Write it there, instead of printing it.')
            '--output' = @('folders', 'Write it there, instead of printing it.')
            '--force' = @('', 'With --output: also over a file that says other things.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner generate completion' = @{
        Verbs = @()
        Arguments = @('=bash =zsh =fish =powershell')
        Repeats = $false
        Options = @{
            '--port' = @('any', 'Where it is reached on the machine.')
            '--publish' = @('any', 'The machine''s address that it is reached at: beyond loopback, or 0.0.0.0 for all.')
            '--gpu' = @('=cuda =rocm =vulkan =none', 'The GPU to hand over.')
            '--image' = @('any', 'The image; made of installer/Containerfile.')
            '--name' = @('any', 'What it is called; runner without it.')
            '--api-key-file' = @('files', 'The file with the key (compose), or with variables (systemd).')
            '--secret' = @('any', 'The secret with the key (quadlet, kube); NAME-api-key without it.')
            '--namespace' = @('any', 'Kubernetes''s; default without it.')
            '-o' = @('folders', 'Write it there, instead of printing it.')
            '--output' = @('folders', 'Write it there, instead of printing it.')
            '--force' = @('', 'With --output: also over a file that says other things.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner config' = @{
        Verbs = @()
        Arguments = @('=get =set =unset =reload', '=host =models =max_loaded_models =max_memory =max_queue =queue_timeout =pin =keep_alive =context_length =num_parallel =prefix_ram =prefix_disk =aliases =options =per_model =stored_responses =stored_responses_size =request_log =request_bodies =load_timeout =sandbox =spare_worker =api_key =origins =allowed_hosts =image_urls =max_body =registries =download_rate =download_connections =adopt_from =autostart =log_level =log_format =log_size =log_files', 'any')
        Repeats = $false
        Options = @{
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
    'runner ls' = @{
        Verbs = @()
        Arguments = @('models')
        Repeats = $false
        Options = @{
            '--json' = @('', 'Print JSON.')
            '--host' = @('any', 'Address of the daemon.')
            '--help' = @('', 'Show what it does and takes.')
            '-h' = @('', 'Show what it does and takes.')
        }
    }
}

function script:Get-RunnerModel {
    if ($env:RUNNER_HOME) {
        $folder = Join-Path $env:RUNNER_HOME 'cache'
    } elseif ($env:LOCALAPPDATA) {
        $folder = Join-Path (Join-Path $env:LOCALAPPDATA 'runner') 'Cache'
    } elseif ($env:XDG_CACHE_HOME) {
        $folder = Join-Path $env:XDG_CACHE_HOME 'runner'
    } elseif ($IsMacOS) {
        $folder = Join-Path $HOME 'Library/Caches/runner'
    } else {
        $folder = Join-Path $HOME '.cache/runner'
    }
    $file = Join-Path $folder 'names'
    if (Test-Path -LiteralPath $file -PathType Leaf) {
        # Nothing that a shell could take for more than a word.
        Get-Content -LiteralPath $file -ErrorAction SilentlyContinue |
            Where-Object { $_ -cmatch '^[A-Za-z0-9_][A-Za-z0-9._:/-]*$' }
    }
}

Register-ArgumentCompleter -Native -CommandName 'runner', 'runner.exe', 'runner.cmd' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
            Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
            Select-Object -Skip 1 | ForEach-Object { $_.Extent.Text })
    $at = 'runner'
    $place = 0
    $pending = ''
    $ended = $false
    foreach ($word in $words) {
        if ($pending) { $pending = ''; continue }
        if (-not $ended) {
            if ($word -eq '--') { $ended = $true; continue }
            if ($word -like '--*=*') { continue }
            if ($word -like '-?*') {
                $option = $script:RunnerCommands[$at].Options[$word]
                if ($option -and $option[0] -notlike 'optional*') { $pending = $option[0] }
                continue
            }
        }
        if ($script:RunnerCommands.ContainsKey("$at $word")) { $at = "$at $word" } else { $place++ }
    }
    $command = $script:RunnerCommands[$at]
    $typed = $wordToComplete
    $lead = ''
    if (-not $pending -and -not $ended -and $typed -like '--*=*') {
        $name, $typed = $typed -split '=', 2
        $lead = "$name="
        $option = $command.Options[$name]
        $pending = if ($option -and $option[0]) { $option[0] } else { 'none' }
    }
    $found = New-Object System.Collections.ArrayList
    $kinds = ''
    if ($pending) {
        $kinds = $pending
    } elseif (-not $ended -and $typed -like '-*') {
        foreach ($name in ($command.Options.Keys | Sort-Object)) {
            [void]$found.Add(@($name, $command.Options[$name][1]))
        }
    } else {
        foreach ($verb in $command.Verbs) { [void]$found.Add($verb) }
        if ($command.Arguments.Count) {
            if ($place -lt $command.Arguments.Count) {
                $kinds = $command.Arguments[$place]
            } elseif ($command.Repeats) {
                $kinds = $command.Arguments[-1]
            }
        }
    }
    foreach ($kind in ($kinds -split ' ')) {
        if ($kind -like '=*') {
            $value = $kind.Substring(1)
            [void]$found.Add(@($value, $value))
        } elseif ($kind -eq 'models') {
            foreach ($model in Get-RunnerModel) { [void]$found.Add(@($model, $model)) }
        }
    }
    # Where a file may stand and nothing else fits, PowerShell offers files by itself.
    foreach ($pair in $found) {
        if ($pair[0].StartsWith($typed, [StringComparison]::Ordinal)) {
            $about = if ($pair[1]) { $pair[1] } else { $pair[0] }
            [System.Management.Automation.CompletionResult]::new("$lead$($pair[0])", $pair[0], 'ParameterValue', $about)
        }
    }
}
