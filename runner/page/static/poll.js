// Looking again and again, once a second, and only while somebody can see it.

/**
 * Calls `look` until the returned function is called. A look that takes long is waited for; hidden pages rest. Where a
 * key is wanted and nobody gave one it rests until somebody says `now`: a dialog that comes back can't be cancelled.
 */
export function poll(look, failed, every = 1000) {
  const end = new AbortController();
  let timer = 0;
  let isLooking = false;
  let isRefused = false;

  async function turn() {
    clearTimeout(timer);
    if (end.signal.aborted || isLooking || isRefused || document.visibilityState !== "visible") return;
    isLooking = true;
    try {
      await look(end.signal);
      if (!end.signal.aborted) failed(null);
    } catch (error) {
      isRefused = error.status === 401;
      if (!end.signal.aborted) failed(error);
    } finally {
      isLooking = false;
    }
    if (!end.signal.aborted && !isRefused) timer = setTimeout(turn, every);
  }

  document.addEventListener("visibilitychange", turn, { signal: end.signal });
  turn();
  const stop = () => {
    clearTimeout(timer);
    end.abort();
  };
  stop.now = () => {
    isRefused = false;
    return turn();
  };
  return stop;
}
