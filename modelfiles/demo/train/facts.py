"""What the model knows about Runner: one row per fact, with many ways to ask for it.

Owns the knowledge. `questions` turns rows into conversations. {m} stands for a model as the asker names it,
NAME in an answer for the same model.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """`ways` are verb phrases that fit "How do I …?", `asks` are whole questions, `gloss` is for the thinking.

    `plain` are the ways that everybody thinks of first. They are drawn more often: among twenty synonyms the most
    ordinary word would be as rare as the oddest.
    """

    gloss: str
    answer: str
    ways: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    weight: float = 1.0
    plain: tuple[str, ...] = ()


FACTS = (
    Fact(
        "downloading a model",
        "Run `runner pull NAME`. It downloads the model from Hugging Face into the store.",
        (
            "(pull|download|get|fetch|grab|obtain|acquire|retrieve|install|add|snag|load down|pull down|bring in|set up) {m}",
            "(get|fetch|bring|put|load|copy|transfer) {m} (onto|to|on) (my|this|the) (machine|laptop|computer|disk|PC|server|box|drive|Mac)",
            "(get hold of|get my hands on|lay hands on) {m}",
            "(download|fetch|get|grab|pull|install) {m} from (Hugging Face|the hub|HF|huggingface|the internet|a registry|the web|online)",
            "(get|install|download|add) (more|new|other|further|additional|extra) (models|LLMs)",
            "(update|refresh) {m} to the (newest|latest) (files|version|weights)",
        ),
        (
            "(Where|How) (can|do) I (get|find|download) (models|{m})?",
            "(which|what) (command|subcommand|verb) (downloads|fetches|pulls|gets|installs|retrieves) {m}?",
            "what does (runner pull|pull|the pull command) do?",
            "I (don't|do not) have {m} yet, (what now|what do I do|what should I type)?",
        ),
        2.5,
        plain=("pull {m}", "download {m}", "get {m}", "install {m}", "add {m}", "update {m}",),
    ),
    Fact(
        "talking to a model",
        "Run `runner run NAME` to chat with it, or `runner run NAME \"your prompt\"` for one answer.",
        (
            "(chat|talk|speak|converse|have a chat|have a conversation) (with|to) {m} (in my terminal|from the shell|on the command line|in the console|)",
            "(run|start|launch|use|execute|try|try out|play with|open|interact with) {m}",
            "(ask|prompt|query|question) {m} (something|a question|)",
            "(send|give|pass) a (prompt|question|message|line) to {m}",
            "(start|begin|open|have) a (chat|conversation|session|dialogue|talk) (with {m}|)",
            "(generate|get|produce) (text|an answer|a reply|an answer) (with|from) {m}",
            "(pipe|feed) (a file|text|stdin|a document) (into|to) {m}",
        ),
        (
            "(which|what) (command|subcommand|verb) (runs|starts|chats with|talks to) {m}?",
            "what does (runner run|run|the run command) do?",
            "(start|begin|open) a (chat|conversation|dialogue) with {m}",
        ),
        2.0,
        plain=("run {m}", "use {m}", "chat with {m}", "talk to {m}", "start {m}",),
    ),
    Fact(
        "the models on disk",
        "Run `runner list`. It shows every model in the store with its size.",
        (
            "(list|see|show|view|display|print|enumerate|check|find out|look at) (all|) (my|the|installed|downloaded|local|available|stored) models",
            "(see|find out|tell|check|know|list|show) which models (I have|are installed|are downloaded|are on this machine|are stored|are here|exist locally|I have downloaded|are there|are on disk)",
            "(see|check) what (I have|I've) (downloaded|pulled|installed|got|fetched) (so far|already|)",
            "(get|print|show) (a|the) (list|table|overview|inventory) of (my|all|the) models",
            "(see|check|tell) how (big|large) (my|the) models are",
        ),
        (
            "(what|which) models (do I have|are installed|are there|have I downloaded|have I pulled|are on disk|are stored here|are available locally)?",
            "(list|show|print|display) (me|) (my|all|the|installed|all my) models",
            "(show|tell) me (what|which models) (I have|I've got|is installed|are installed)",
            "(which|what) (command|subcommand|verb) (lists|shows|prints|displays) (all|my|the|) (models|installed models|models on this machine)?",
            "is there a (command|way) (that|to) (print|list|show|see)(s|) (all|my|the) models?",
            "what does (runner list|list|the list command) do?",
            "how many models do I have (on this machine|on disk|)?",
        ),
        2.0,
        plain=("list models", "list my models", "see my models", "see all models", "see which models I have",),
    ),
    Fact(
        "the loaded models",
        "Run `runner ps`. It shows the models that are loaded in memory right now.",
        (
            "(see|check|find out|tell|show|list|view) (which|what) models are (loaded|running|in memory|in RAM|active|resident|in use|on the GPU|in VRAM|up) (now|right now|at the moment|currently|)",
            "(see|check|show|list|find out) what is (running|loaded|in memory|currently loaded|active|using memory|eating my RAM)",
            "(list|show|see|view) (the|) (running|loaded|active|resident) models",
        ),
        (
            "(which|what) models are (loaded|running|in memory|in RAM|active|resident|on the GPU) (now|right now|at the moment|currently|)?",
            "what is (running|loaded|in memory) (now|right now|at the moment|currently|)?",
            "(which|what) (command|subcommand|verb) (shows|lists|prints) (the|) (running|loaded|active) models?",
            "(is|are) (any model|anything|some model|{m}|any models) (loaded|running|in memory) (now|right now|at the moment|)?",
            "what does (runner ps|ps|the ps command) do?",
            "show (me|) (the|) (running|loaded) models",
        ),
        2.0,
        plain=("see what is loaded", "see running models", "see which models are loaded", "see what is running", "check what is in memory",),
    ),
    Fact(
        "removing a model",
        "Run `runner rm NAME`. It removes the model and frees its space on disk.",
        (
            "(remove|delete|erase|uninstall|ditch|drop|discard|purge|wipe|destroy|trash|kill off|scrap|throw away|throw out|dump|bin|clear out|take off|toss) {m}",
            "(get rid of|do away with|dispose of) {m}",
            "(delete|remove|throw) {m} (from disk|from my disk|from this machine|out|for good|completely|entirely|again)",
            "(free|reclaim|win back|recover|save) (disk space|space on disk|my disk|some disk)",
            "(take|get|wipe) {m} off (my|this|the) (machine|disk|computer|laptop|drive)",
        ),
        (
            "(which|what) (command|subcommand|verb) (removes|deletes|erases|uninstalls|drops) {m}?",
            "I (don't|do not|no longer) (want|need|use|like) {m} (any more|anymore|), (how do I delete it|how do I remove it|what now|what do I type)?",
            "{m} (takes|uses|eats) too much (disk|space|room|disk space), (how do I delete it|what can I do|how to remove it)?",
            "(my disk is full|I am out of disk space|the disk is almost full), (how do I delete {m}|what can I remove)?",
            "what does (runner rm|rm|the rm command) do?",
        ),
        2.0,
        plain=("remove {m}", "remove {m}", "delete {m}", "delete {m}", "uninstall {m}", "remove models", "delete models",),
    ),
    Fact(
        "unloading a model from memory",
        "Run `runner stop NAME`. It unloads the model from memory; the files stay on disk.",
        (
            "(unload|stop|halt|evict|release|quit|eject|end|suspend) {m}",
            "(unload|remove|take|get|evict|kick|throw|drop|push) {m} (from|out of) (memory|RAM|VRAM|the GPU)",
            "(free|release|reclaim|clear|empty|save) (memory|RAM|VRAM|the memory|GPU memory|the RAM) (used by {m}|of {m}|that {m} holds|that {m} uses|)",
            "(stop|unload) {m} (without deleting it|but keep it on disk|and keep the files|without removing it)",
            "(stop|make) {m} (from using|not use|from taking|from hogging) (memory|RAM|VRAM)",
        ),
        (
            "(which|what) (command|subcommand|verb) (unloads|stops|evicts|frees) {m}?",
            "{m} (takes|uses|eats|holds) too much (memory|RAM|VRAM), (how do I unload it|how do I stop it|what can I do)?",
            "what does (runner stop|stop|the stop command) do?",
        ),
        2.0,
        plain=("unload {m}", "stop {m}", "free memory", "remove {m} from memory",),
    ),
    Fact(
        "copying a model under another name",
        "Run `runner cp NAME NEWNAME`. The copy shares its files, so it takes no extra space.",
        (
            "(copy|duplicate|clone|replicate|alias) {m}",
            "(copy|duplicate|clone) {m} (under|to|as|with) (a new name|another name|a second name|a different name|an alias)",
            "(give|assign) {m} (a second|another|a new|a different|a shorter|an additional|a friendlier|one more) (name|nickname|alias|label|title)",
            "(rename|nickname|alias) {m}",
            "(make|create|have|get) (a copy|a duplicate|a clone|an alias|a second copy|a twin) of {m}",
            "(use|call) {m} (under|by) another name",
        ),
        (
            "(which|what) (command|subcommand|verb) (copies|duplicates|clones|renames|aliases) {m}?",
            "what does (runner cp|cp|the cp command) do?",
            "can {m} have (two names|a nickname|an alias|a second name|more than one name)?",
        ),
        1.5,
        plain=("copy {m}", "rename {m}",),
    ),
    Fact(
        "a model's details",
        "Run `runner show NAME`. It prints the model's details: parameters, template, license and size.",
        (
            "(see|view|show|inspect|look at|check|print|find|get|read|display|examine) (the|) (details|information|info|facts|parameters|template|license|settings|metadata|context length|Modelfile|architecture|quantization|chat template|system prompt) (of|for|about) {m}",
            "(inspect|examine|describe|look into|look inside) {m}",
            "(learn|find out|know) more about {m}",
            "(see|find out|check) (how many parameters|what quantization|what context length|what template|which license|what abilities) {m} (has|comes with|uses)",
        ),
        (
            "(where|how) can I (see|find|look at|read) (the|a) (model's|details of a model's|model's default) (parameters|template|license|details|settings)?",
            "(which|what) (command|subcommand|verb) (shows|prints|describes|inspects|displays) (a model's details|the details of {m}|the license of {m}|{m} in detail)?",
            "tell me (more|) about {m}'s (details|parameters|template|license)",
            "what does (runner show|show|the show command) do?",
            "(give|show) me (the details|details|information|info|facts) (of|about|on) {m}",
        ),
        1.5,
        plain=("see the details of {m}", "show {m}", "inspect {m}",),
    ),
    Fact(
        "making a model from a Modelfile",
        "Write a Modelfile and run `runner create NAME -f Modelfile`.",
        (
            "(create|build|make|define|assemble|construct|set up|bake|compose) (a model|my own model|a custom model|a new model|my own variant|a variant of {m}) (from|with|out of|using) a Modelfile",
            "(create|build|make|define|construct|craft) (my own|a custom|my personal|a personalized|a new|our own) (model|version of {m}|variant)",
            "(customize|customise|adapt|tweak|personalize|change|modify|derive from) {m}",
            "(use|apply|write|turn) a Modelfile (into a model|)",
            "(package|bundle) {m} with (my own|a) (prompt|settings|system prompt)",
        ),
        (
            "(which|what) (command|subcommand|verb) (creates|builds|makes) a model (from a Modelfile|)?",
            "what does (runner create|create|the create command) do?",
            "I (wrote|have|made) a Modelfile, (what now|what next|how do I use it|how do I build it)?",
        ),
        1.6,
        plain=("create a model", "make a model", "make my own model", "create my own model", "build a model", "use a Modelfile", "customize {m}",),
    ),
    Fact(
        "importing a GGUF file",
        "Write `FROM ./file.gguf` in a Modelfile and run `runner create NAME -f Modelfile`.",
        (
            "(import|use|load|add|register|bring in|run|open) (a|my|my own|an existing|a local) (GGUF|gguf|.gguf|GGUF file|gguf file|local file|model file|weights file)",
            "(import|add|use|load) (a file|a model|weights) (from|on|that is on) (disk|my disk|my drive|a folder) (I already have|)",
        ),
        (
            "I (have|downloaded|got) a (GGUF|gguf|.gguf|GGUF file|gguf file) (already|on disk|myself|), (how do I use it|how do I import it|what do I do with it|can Runner use it)?",
            "can (I|Runner) (import|use|load) (a|my own|existing|local) (GGUF files|gguf|GGUF)?",
        ),
        1.2,
        plain=("import a GGUF file", "use a GGUF file", "use my own GGUF file",),
    ),
    Fact(
        "starting the daemon",
        "Run `runner serve`. Other commands also start the daemon in the background when they need it.",
        (
            "(start|launch|run|boot|bring up|start up|fire up|spin up|turn on|begin) the (server|daemon|service|Runner server|Runner daemon|API|HTTP server|backend) (by hand|manually|myself|in the foreground|)",
            "(serve|expose|offer) (models|{m}|the API) (over HTTP|to other programs|on my network|to my tools|)",
            "(start|launch|boot) Runner",
        ),
        (
            "(which|what) (command|subcommand|verb) (starts|launches|runs|boots) the (server|daemon|API)?",
            "what does (runner serve|serve|the serve command) do?",
            "how is the (daemon|server|service) (started|launched|run)?",
            "do I have to start the (daemon|server) (myself|by hand|first)?",
        ),
        1.6,
        plain=("start the daemon", "start the server", "start Runner",),
    ),
    Fact(
        "ending the daemon",
        "Run `runner shutdown`. It ends the daemon; `runner stop NAME` only unloads one model.",
        (
            "(shut down|stop|end|quit|kill|terminate|exit|turn off|switch off|close|halt|bring down|take down|shutdown) the (server|daemon|service|Runner server|Runner daemon|background process|API|whole thing)",
            "(shut down|quit|exit|terminate|turn off|close|kill|switch off) Runner (completely|entirely|)",
            "(bring|take|shut) the (daemon|server|service) down",
        ),
        (
            "(which|what) (command|subcommand|verb) (stops|ends|kills|terminates|shuts down) the (server|daemon|service)?",
            "what does (runner shutdown|shutdown|the shutdown command) do?",
            "the (daemon|server) (should stop|should go away|must stop|has to end), how?",
        ),
        1.6,
        plain=("stop the daemon", "stop the server", "stop Runner", "shut down Runner",),
    ),
    Fact(
        "cleaning up the store",
        "Run `runner prune`. It deletes blobs in the store that no model uses any more.",
        (
            "(clean up|tidy up|tidy|clean|sweep|clear|prune|vacuum|garbage collect|declutter) (the store|the cache|unused files|leftover blobs|old blobs|orphaned files|unused blobs|leftovers|unused data|dangling layers|)",
            "(remove|delete|drop|erase) (unused|orphaned|leftover|stale|old|dangling|unreferenced|abandoned) (blobs|files|data|layers|downloads)",
        ),
        (
            "(which|what) (command|subcommand|verb) (cleans up|tidies|prunes|removes unused) (the store|blobs|files)?",
            "what does (runner prune|prune|the prune command) do?",
            "there are (leftover|unused|old|orphaned) (blobs|files) in the store, (how do I remove them|what now|what cleans them up)?",
        ),
        1.3,
        plain=("clean up", "clean up the store", "free unused files",),
    ),
    Fact(
        "uploading a model",
        "Run `runner push NAME`. It uploads the model to a registry.",
        (
            "(push|upload|publish|share|send|release|export|distribute|deploy) {m} (to a registry|to the registry|to an OCI registry|online|to others|with my team|with others|somewhere|)",
            "(share|publish|upload) (my own|my|our|a custom) model",
            "(make|put) {m} (available to others|available online|into a registry|on a registry)",
        ),
        (
            "(which|what) (command|subcommand|verb) (pushes|uploads|publishes|shares) {m}?",
            "what does (runner push|push|the push command) do?",
        ),
        1.3,
        plain=("push {m}", "upload {m}", "publish {m}",),
    ),
    Fact(
        "searching for models",
        "Run `runner search WORDS`. It looks for models by name in the catalog and on Hugging Face.",
        (
            "(search|look|hunt|browse) for (models|{m}|a model|new models|a certain model|other models|coding models) (by name|by keyword|online|on the hub|on Hugging Face|)",
            "(find|discover|look up|browse) (models|new models|a model|other models|a good model|interesting models) (by name|by keyword|on Hugging Face|to download|)",
            "(see|find out|browse) which models (exist|can be pulled|I could download|are out there|are offered|are on Hugging Face|the catalog has)",
        ),
        (
            "(which|what) (command|subcommand|verb) (searches|finds|looks for|looks up) models?",
            "(which|what) models (can I pull|could I download|exist|are out there|are offered)?",
            "what does (runner search|search|the search command) do?",
        ),
        1.3,
        plain=("search for a model", "search models", "find models", "find a model",),
    ),
    Fact(
        "the logs",
        "Run `runner logs`. It prints the daemon's log; `runner logs NAME` prints one model's.",
        (
            "(see|read|view|show|check|find|look at|open|print|follow|tail|get|inspect) the (log|logs|log files|log file|error log|daemon's log|server log|error messages|logging output)",
            "(find out|see|check|debug) (why {m} crashed|what went wrong|why it failed|why it crashed|what happened|what the daemon is doing)",
        ),
        (
            "where (are|is|do I find|can I find|can I read) the (log|logs|log file|error messages|log files)?",
            "(something|it|{m}|the daemon) (went wrong|failed|crashed|broke|died|stopped working), where do I (look|see why|find the reason)?",
            "(which|what) (command|subcommand|verb) (shows|prints) the (log|logs)?",
            "what does (runner logs|logs|the logs command) do?",
        ),
        1.3,
        plain=("see the logs", "read the logs",),
    ),
    Fact(
        "measuring speed",
        "Run `runner bench NAME`. It measures how many tokens per second the model reaches here.",
        (
            "(benchmark|measure|time|test|gauge|clock|profile) (the speed of|) ({m}|my machine|this computer|my hardware|tokens per second)",
            "(measure|test|find out|check|see|know) how (fast|quick|slow) ({m}|my machine|my computer|my laptop|this box|it) is",
            "(see|measure|get|find out) (the tokens per second|the speed|tokens per second|the performance|the throughput) (of {m}|here|on my machine|)",
            "(run|start|do) a (benchmark|speed test|performance test)",
        ),
        (
            "how (fast|quick|slow) is ({m}|my machine|my computer|my hardware|this laptop) (here|with {m}|)?",
            "(which|what) (command|subcommand|verb) (measures|benchmarks|tests) (speed|the speed|performance)?",
            "what does (runner bench|bench|the bench command) do?",
        ),
        1.2,
        plain=("measure the speed", "run a benchmark", "benchmark {m}",),
    ),
    Fact(
        "checking the installation",
        "Run `runner doctor`. It checks the installation and says what to fix.",
        (
            "(check|diagnose|test|examine|debug|repair|troubleshoot|fix) (my|the|this|a broken) (installation|setup|install|set-up|Runner|environment|configuration)",
            "(find out|see|check) (what is wrong with Runner|whether everything works|if all is well|why Runner doesn't work|whether my setup is fine|if Runner is healthy)",
            "(run|do|get) a (health check|diagnosis|checkup|self test)",
        ),
        (
            "(Runner|it|my installation|the installation|my setup|my install) (doesn't work|is broken|seems broken|does not work|behaves strangely|acts up|fails), (what now|what can I do|what checks it|how do I find out why|help)",
            "(which|what) (command|subcommand|verb) (checks|diagnoses|tests) (the installation|my setup|Runner)?",
            "what does (runner doctor|doctor|the doctor command) do?",
        ),
        1.2,
    ),
    Fact(
        "checking the stored files",
        "Run `runner verify`. It hashes the stored files again and reports any that are damaged.",
        (
            "(verify|check|validate|hash|confirm|test) (the|my|all|) (stored files|blobs|files in the store|checksums|hashes|downloads|integrity of the store|integrity of {m}|integrity|digests)",
            "(make sure|ensure|check|confirm|verify|find out) (that|whether|if) (the|my|) (files|stored files|blobs|models|downloads) (are not corrupt|are intact|are not damaged|are corrupted|are okay|are damaged|are undamaged|are whole)",
            "(detect|find|spot) (corrupt|damaged|broken|bad|corrupted) (files|blobs|models)",
        ),
        (
            "(is|are) (my model|my files|the store|the blobs|my models) (corrupt|damaged|intact|broken|corrupted|okay)?",
            "(which|what) (command|subcommand|verb) (verifies|checks|validates) (the files|the blobs|hashes|the store)?",
            "what does (runner verify|verify|the verify command) do?",
        ),
        1.2,
    ),
    Fact(
        "Runner's version",
        "Run `runner --version`.",
        (
            "(see|check|find out|print|show|get|know) (which|what) version (of Runner|) (I have|is installed|this is|I am using|I run|I use|I am on)",
            "(check|print|show|see|get|find) the (version|version number|installed version|Runner version|release number)",
        ),
        (
            "(which|what) version (of Runner|) (do I have|is this|is installed|am I using|am I on|is running)?",
            "how (old|new|recent) is (my|this) Runner?",
            "what is the version (of Runner|number|)?",
        ),
        1.2,
        plain=("see the version", "check the version",),
    ),
    Fact(
        "Runner's address",
        "Runner listens on `127.0.0.1:11435`. `RUNNER_HOST` or `--host` changes that.",
        (
            "(reach|call|contact|connect to|find|access|talk to) (Runner|the server|the daemon|the API|the HTTP API) (over HTTP|from my program|from code|)",
        ),
        (
            "(which|what) (port|address|host and port|TCP port|URL|endpoint) (does Runner use|does Runner listen on|does it use|is used|does the server use|does the daemon listen on|is Runner on|is the server on|is the default)?",
            "(where|on which port|at which address|on what port) does (Runner|the server|the daemon|it) (listen|run|answer|serve)?",
            "what is (the default port|the port|the address|Runner's port|the server's address|the default address|the API address|the port number)?",
            "is it the same port as Ollama?",
            "(which|what) port (is it|do I use|do I connect to|should I open)?",
        ),
        2.0,
    ),
    Fact(
        "the OpenAI base URL",
        "Use `http://127.0.0.1:11435/v1` as the base URL; any API key will do.",
        (
            "(use|connect|point|set up|configure|call|hook up|plug in) (the OpenAI client|the OpenAI SDK|an OpenAI client|OpenAI's library|the openai package|the OpenAI Python library|an OpenAI tool) (with Runner|to Runner|at Runner|for Runner|against Runner|)",
            "(use|call|reach) (Runner|you|{m}) (from|with|through) (the OpenAI client|openai|the OpenAI SDK|Python|my code|an OpenAI library|LangChain|the OpenAI API)",
            "(connect|hook up|point) (my editor|a coding assistant|VS Code|my IDE|my app|an agent|my tools|Continue|Open WebUI) to Runner",
        ),
        (
            "(what|which) (is the|) (base URL|base_url|OpenAI URL|OpenAI endpoint|OpenAI base URL|API base|api_base) (do I use|do I set|should I use|is it|goes into the client|for the OpenAI client|for OpenAI|)?",
            "(is Runner|are you) (compatible with OpenAI|OpenAI compatible|OpenAI-compatible)?",
            "does (Runner|it) (speak|support|have|offer|understand) (the OpenAI API|OpenAI|an OpenAI endpoint|the chat completions API)?",
            "(can|does) the OpenAI (client|SDK|library) work with (Runner|it|{m})?",
        ),
        2.0,
    ),
    Fact(
        "the address setting",
        "Set `RUNNER_HOST=host:port`, or start `runner serve --host host:port`.",
        (
            "(change|set|choose|configure|pick|move|alter|adjust|override) the (port|address|host|listening address|bind address|server's port|server's address|default port)",
            "(make|let|have) (Runner|the server|the daemon|it) (listen|bind|answer|serve) (on another port|on another address|on a different port|on all interfaces|on port 8080|on my network|to another address|elsewhere)",
            "(use|take|run on) (another|a different|Ollama's|some other) (port|address)",
        ),
        (
            "what is RUNNER_HOST (for|)?",
            "what does RUNNER_HOST (do|mean|set)?",
            "(which|what) (variable|setting|environment variable|flag|option) (sets|changes|controls) the (port|address|host)?",
            "port 11435 is (taken|in use|busy|blocked), (what now|how do I change it|what can I do)?",
        ),
        1.3,
    ),
    Fact(
        "the folder of the store",
        "Set `RUNNER_MODELS` to the folder where models should be stored.",
        (
            "(change|set|choose|move|pick|configure|relocate|switch) (where models are stored|the models folder|the model folder|the store's folder|the storage location|the models directory|the download folder|where Runner keeps models|the path of the store)",
            "(store|keep|put|save|move|place|have|hold) (my|the|all|) models (on another disk|on another drive|in another folder|elsewhere|on a different drive|on an external disk|somewhere else|in a different directory|on a bigger disk|on my second drive|on D:)",
        ),
        (
            "where (are|does Runner keep|does Runner store|does it store|does it save|do) (models|the models|my models|model files) (stored|kept|saved|live|)?",
            "what (is|does) RUNNER_MODELS (for|do|mean)?",
            "(which|what) (variable|setting|environment variable) (sets|changes|controls|decides) (where models are stored|the models folder|the store's folder)?",
            "I (want|would like|need) (my|the) models (on another disk|on an external drive|in another folder|on a different disk|somewhere else)",
        ),
        1.4,
        plain=("change where models are stored", "move the models to another disk",),
    ),
    Fact(
        "how many models stay loaded",
        "Set `RUNNER_MAX_LOADED_MODELS` to the number of models that may be loaded at once.",
        (
            "(limit|set|change|raise|restrict|cap|increase|choose|control|configure) (how many models are loaded|the number of loaded models|how many models stay in memory|how many models may be loaded|how many models run)(at once|at the same time| in parallel|)",
            "(keep|load|run|have|hold) (two|several|more|many|three|multiple|a few|only one) models (in memory|loaded|running|) (at once|at the same time|in parallel|together|simultaneously|side by side)",
        ),
        (
            "how many models can (be loaded|run|be in memory|stay loaded|I load|I run) (at once|at the same time|in parallel|together|)?",
            "what (is|does) RUNNER_MAX_LOADED_MODELS (for|do|mean|set)?",
            "(which|what) (variable|setting|environment variable) (limits|sets|controls|decides) how many models (are loaded|stay loaded|can be loaded)?",
            "can (Runner|I|it) (load|run|hold|use) (two|several|multiple|many) models (at once|at the same time|)?",
        ),
        1.5,
    ),
    Fact(
        "how long a model stays loaded",
        "A model stays loaded for `keep_alive` after its last request, 5 minutes by default; `RUNNER_KEEP_ALIVE` changes that.",
        (
            "(keep|hold|leave|have) {m} (loaded|in memory|warm|in RAM|ready) (longer|forever|for an hour|all day|for a while|for good|permanently|)",
            "(change|set|configure|control|extend|shorten|choose) (how long {m} stays loaded|keep_alive|the keep alive time|the idle time|the unload timeout|when models are unloaded)",
            "(stop|prevent|keep) (Runner|it) from unloading {m}",
        ),
        (
            "how long (does|will|do) ({m}|a model|models) (stay|remain|stays|be kept) (loaded|in memory|in RAM|) (after a request|when idle|after use|)?",
            "when (is|does|are|will) (a model|models|{m}) (unloaded|be unloaded|leave memory|get unloaded|go away)?",
            "what (is|does) (keep_alive|RUNNER_KEEP_ALIVE|keep alive) (for|do|mean|)?",
            "(which|what) (setting|variable|option) (keeps|holds) a model (loaded|in memory)?",
        ),
        1.5,
    ),
    Fact(
        "where models come from",
        "Models come from Hugging Face, as GGUF files; the catalog gives the popular ones short names.",
        (),
        (
            "where (do|does) (the|your|) (models|weights|model files|the model) come from?",
            "(from where|where) does (Runner|it|pull|runner pull) (download|get|fetch|take|pull) (models|its models|the models|them|the weights) (from|)?",
            "what is the source of (the|) (models|weights)?",
            "(which|what) (hub|site|registry|source|website) (does Runner use|are models from|do models come from|does it pull from|is used for downloads)?",
            "(who hosts|who provides|who offers) the models?",
            "can (I|it|Runner) use models from (Hugging Face|the hub|huggingface)?",
        ),
        1.3,
    ),
    Fact(
        "the file format",
        "Runner runs GGUF files, the format of llama.cpp.",
        (),
        (
            "(which|what) (file format|format|model format|kind of file|type of file|file type|weights format) (does Runner use|does it use|does Runner need|does Runner support|is used|are models in|does it take|must a model have)?",
            "what (is|does) (a|) GGUF (file|mean|)?",
            "(does|can) (Runner|it) (run|use|load|support) (safetensors|PyTorch|ONNX|GGUF|pickle) (files|models|)?",
            "in (which|what) format are (the|) (models|weights) (stored|saved|)?",
        ),
        1.2,
    ),
    Fact(
        "FROM in a Modelfile",
        "`FROM` names the base: the model or GGUF file that the new model starts from.",
        ("(choose|set|name|pick|give|state) (the base model|a base model|the base) (in a Modelfile|of a Modelfile|)",),
        (
            "what (does|is) FROM (do|mean|for|) (in a Modelfile|in the Modelfile|)?",
            "(which|what) instruction (names|sets|gives) the base model?",
            "(explain|describe) (the|) FROM (instruction|line|)",
            "(which|what) (line|instruction) must (a|every) Modelfile (have|start with|contain)?",
        ),
        1.2,
    ),
    Fact(
        "SYSTEM in a Modelfile",
        "Write `SYSTEM \"your prompt\"` in the Modelfile and run `runner create NAME -f Modelfile`.",
        (
            "(set|change|add|give|define|write|put|bake in|store|fix) (a|the|my|my own|a permanent|a default) system (prompt|message|instruction) (for {m}|in a Modelfile|of {m}|permanently|)",
            "(tell|instruct|make) {m} (how to behave|to always be brief|to act like a pirate|who it is) (permanently|by default|)",
        ),
        (
            "what (does|is) SYSTEM (do|mean|for|) (in a Modelfile|in the Modelfile|)?",
            "(which|what) instruction (sets|holds|contains|defines) the system (prompt|message)?",
            "where does the system prompt go?",
        ),
        1.3,
    ),
    Fact(
        "PARAMETER in a Modelfile",
        "Write `PARAMETER temperature 0.7` in the Modelfile, or any other parameter in the same way.",
        (
            "(set|change|fix|lower|raise|adjust|tune|configure|specify) (the temperature|temperature|top_p|top_k|num_ctx|the context length|sampling parameters|a parameter|parameters|the seed|stop words|the sampling) (in a Modelfile|of {m}|for {m}|permanently|)",
            "(make|have) {m} (less random|more creative|deterministic|more random|less creative)",
        ),
        (
            "what (does|is) PARAMETER (do|mean|for|) (in a Modelfile|in the Modelfile|)?",
            "(which|what) instruction (sets|changes|controls) (parameters|the temperature|a parameter|the context length)?",
            "where (do I|does one) (set|put|write) the (temperature|context length|parameters|seed)?",
        ),
        1.3,
    ),
    Fact(
        "the Modelfile",
        "A Modelfile describes a model: `FROM`, `PARAMETER`, `TEMPLATE`, `SYSTEM`, `ADAPTER`, `LICENSE` and `MESSAGE` lines.",
        ("(write|structure|lay out|format|start) a Modelfile",),
        (
            "what (is|are) (a|the|) (Modelfile|Modelfiles|model file) (for|good for|)?",
            "(which|what) (instructions|lines|keywords|directives|commands) (does|can|may|are allowed in) a Modelfile (have|know|contain|take|)?",
            "(explain|describe) (the|) (Modelfile|Modelfiles|Modelfile language|Modelfile syntax)",
            "what (goes|can I write|belongs) (in|into) a Modelfile?",
        ),
        1.2,
    ),
    Fact(
        "who you are",
        "I am Runner's demo model: tiny, built in, and I only know Runner's commands.",
        (),
        (
            "(who|what) are you?",
            "(what|which) (model|LLM|language model|AI) (are you|is this|am I talking to)?",
            "(tell|say) (me|) (something|a bit|) about yourself",
            "(introduce|describe) yourself",
            "are you (ChatGPT|GPT|Claude|Llama|Qwen|Gemini|a human|a person|an AI|a robot|a real model|a large model|smart|intelligent|clever|as good as GPT|as clever as Claude|better than Gemini|like GPT-4)?",
            "what is (the|this) demo (model|) (for|)?",
            "how (big|large|smart|clever|good) are you?",
            "what is your name?",
            "what are your (limits|limitations|weaknesses)?",
        ),
        2.0,
    ),
    Fact(
        "what you can do",
        "I can answer questions about Runner's commands. I am only a demo; pull a larger model for the rest.",
        (),
        (
            "what (can|do) you (do|know|know about|help with|answer|offer) (for me|)?",
            "(how|what) can you (help|do for me|help me|assist me with|assist)?",
            "(can|could) you help (me|) (with something|please|)?",
            "what (kind of questions|topics|questions) (can you answer|do you know|can I ask|should I ask)?",
            "(what should|what can|what may) I ask (you|)?",
            "(help|help me|please help|I need help|I need some help)",
        ),
        1.6,
    ),
    Fact(
        "who made you",
        "The Runner project trained me from scratch with its own scripts.",
        (),
        (
            "who (made|created|built|trained|wrote|programmed|developed|designed) you?",
            "(where do you come from|where are you from|how were you made|how were you trained|who is your maker|what were you trained on)?",
        ),
        1.0,
    ),
    Fact(
        "what Runner is",
        "Runner is a local model runner: it pulls GGUF models and serves them on localhost to chat, code and embeddings.",
        (),
        (
            "what is (Runner|runner|this program|this tool|this|this software|this project|this thing)?",
            "(explain|describe|introduce) Runner (to me|in a sentence|briefly|)",
            "what does (Runner|runner|this program|this tool|the program) do?",
            "what (is|can) Runner (for|good for|be used for)?",
            "(why|when) (should|would) I use Runner?",
            "tell me (about|what) Runner (is|)",
            "is Runner (like Ollama|an Ollama replacement|free|open source|a server|a chatbot|a chat program)?",
        ),
        1.5,
    ),
    Fact(
        "working offline",
        "Runner works offline: only `runner pull` and `runner search` need the network.",
        ("(use|run) (Runner|{m}|models) (offline|without internet|without a network|on a plane|without a connection|in an air-gapped network)",),
        (
            "(does|do) (Runner|it|you|{m}) (need|require|use) (the internet|internet|a network|a connection|an internet connection|the cloud|an account)?",
            "(does|can) (Runner|it|{m}) (work|run|function) (offline|without internet|without a network|locally|without the cloud)?",
            "(is|are) my (data|prompts|chats|conversations|messages) (sent|uploaded|going|leaked) (anywhere|to the cloud|to a server|out|somewhere)?",
        ),
        1.2,
    ),
    Fact(
        "exit codes",
        "Exit code 0 is success, 1 failure, 2 wrong usage, 69 no daemon, 74 I/O error, 75 busy or locked.",
        (),
        (
            "(what|which) (exit codes|exit statuses|return codes) (does Runner use|are there|exist|can I expect)?",
            "what (does|is) (the|) (exit code|exit status|return code|status|code) (69|75|74|2|1|77|0) (mean|)?",
            "(exit code|exit status|return code|code) (69|75|74|2|77), (what is that|what does it mean|why|what now)?",
            "(runner|it|the command) (exits|exited|returned|ended) with (69|75|74|2|code 69|code 75|status 69)",
        ),
        1.0,
    ),
    Fact(
        "Ollama clients",
        "Ollama clients work too: set `OLLAMA_HOST=127.0.0.1:11435`, or start `runner serve --host 127.0.0.1:11434`.",
        (
            "(use|connect|point|keep|run) (an Ollama client|Ollama clients|the ollama library|the ollama package|tools made for Ollama|my Ollama tools|Ollama apps) (with Runner|to Runner|at Runner|against Runner|)",
            "(replace|switch from|move from|migrate from|get away from) Ollama (with Runner|to Runner|)",
        ),
        (
            "(does|can|will) (the ollama client|Ollama clients|ollama tools|my Ollama apps|the ollama library) work (with Runner|with it|here)?",
            "(does|is) Runner (speak the Ollama API|compatible with Ollama|support Ollama clients|a replacement for Ollama)?",
        ),
        1.0,
    ),
    Fact(
        "the settings",
        "Run `runner config`. It prints every setting, its value and where it comes from.",
        (
            "(see|view|show|list|print|check|find|display) (the|all|my|Runner's|current|) (settings|configuration|config|options|environment variables|config values)",
            "(configure|set up) Runner",
        ),
        (
            "(which|what) (settings|environment variables|options) (are there|does Runner have|exist|can I set|does it know)?",
            "(where|how) (is|are) Runner (configured|settings set|settings kept)?",
            "where is the (config|configuration|config file|settings file)?",
            "what does (runner config|config|the config command) do?",
        ),
        1.0,
    ),
    Fact(
        "the API key",
        "Set `RUNNER_API_KEY`; clients then send it as a bearer token.",
        (
            "(set|use|require|add|configure|demand) (an API key|a password|authentication|a token|an access key|a key) (for Runner|for the server|for the API|)",
            "(protect|secure|lock down|guard) (the server|the API|Runner|my server) (with a key|with a password|)",
        ),
        (
            "(does|do) (Runner|it|I) need an API key?",
            "what (is|does) RUNNER_API_KEY (for|do|mean)?",
        ),
        0.9,
    ),
    Fact(
        "all commands",
        "The main commands are `pull`, `run`, `create`, `list`, `show`, `ps`, `stop`, `cp`, `rm`, `push`, `serve`, `shutdown` and `prune`; `runner --help` lists them all.",
        ("(see|list|find|show|get) (all|all the|the|) (commands|subcommands|verbs|help)", "(get|see|find) help (on the command line|)"),
        (
            "(which|what) (commands|subcommands|verbs) (are there|does Runner have|exist|can I use|do you know|does it have|are available)?",
            "(list|show|name) (all|the|all the|Runner's) (commands|subcommands|verbs)",
            "how do I use (Runner|runner|it|this)?",
            "(how do I get started|getting started|where do I start|how to begin|how do I start using Runner)",
        ),
        1.2,
    ),
    Fact(
        "keeping a model loaded",
        "Run `runner pin NAME`. It keeps the model loaded whatever else is asked for.",
        ("(pin|lock|fix) {m} (in memory|)", "(always|) (keep|hold) {m} loaded (whatever happens|always|no matter what)"),
        ("what does (runner pin|pin|the pin command) do?", "(which|what) (command|subcommand) pins {m}?"),
        0.7,
        plain=("keep {m} loaded",),
    ),
    Fact(
        "whether a model fits",
        "Run `runner plan NAME`. It says whether the model fits into memory before you load it.",
        (
            "(find out|check|see|know|tell) (whether|if) {m} (fits|will fit|fits into memory|fits my GPU|will run here|fits into RAM)",
        ),
        (
            "(does|will) {m} (fit|fit into memory|fit my GPU|run on my machine|fit in RAM)?",
            "what does (runner plan|plan|the plan command) do?",
            "how much (memory|RAM|VRAM) does {m} (need|take|use|require)?",
        ),
        0.8,
    ),
    Fact(
        "embeddings",
        "Pull an embedding model and call `/v1/embeddings` or `/api/embed`.",
        ("(get|compute|make|create|calculate|produce) (embeddings|an embedding|vectors|text embeddings)", "(embed|vectorize) (text|documents|sentences|a sentence)"),
        (
            "(does|can) (Runner|it) (do|support|make|compute) embeddings?",
            "(which|what) endpoint (gives|makes|serves|computes) embeddings?",
        ),
        0.8,
    ),
    Fact(
        "adopting models of other tools",
        "Run `runner adopt`. It takes over models that Ollama, LM Studio or the Hugging Face cache already hold.",
        (
            "(reuse|take over|use|adopt|import) (models|the models|files) (from|of|that are in) (Ollama|LM Studio|the Hugging Face cache|another tool|other tools)",
        ),
        ("what does (runner adopt|adopt|the adopt command) do?", "(can|could) Runner (use|reuse|share) (my|the) Ollama models?"),
        0.7,
    ),
    Fact(
        "installing Runner",
        "Clone the repository and run `./installer/dev runner run demo`; it sets everything up.",
        ("(install|set up) Runner (on a new machine|on my laptop|from source|)",),
        ("how is Runner installed?", "(what do I need|what is needed) to install Runner?"),
        0.8,
    ),
    Fact(
        "machine-readable output",
        "Add `--json` to the command: every verb that prints a table can print JSON.",
        (
            "(get|print|have|see|output) (JSON|json output|machine-readable output|the output as JSON) (from a command|from runner list|in a script|)",
            "(use|parse) (Runner's output|runner list|the output) in a script",
        ),
        ("can (runner list|Runner|the commands|it) (print|output|give) JSON?", "what does --json do?"),
        0.8,
    ),
)
