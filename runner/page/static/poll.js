// Looking again and again, once a second, and only while somebody can see it.

/** Calls `look` until the returned function is called. A look that takes long is waited for; hidden pages rest. */
export function poll(look, failed, every = 1000) {
  const end = new AbortController();
  let timer = 0;
  let isLooking = false;

  async function turn() {
    clearTimeout(timer);
    if (end.signal.aborted || isLooking || document.visibilityState !== "visible") return;
    isLooking = true;
    try {
      await look(end.signal);
      if (!end.signal.aborted) failed(null);
    } catch (error) {
      if (!end.signal.aborted) failed(error);
    } finally {
      isLooking = false;
    }
    if (!end.signal.aborted) timer = setTimeout(turn, every);
  }

  document.addEventListener("visibilitychange", turn, { signal: end.signal });
  turn();
  const stop = () => {
    clearTimeout(timer);
    end.abort();
  };
  stop.now = turn;
  return stop;
}
