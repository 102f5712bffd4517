// Puts the chosen colours on before the first paint, so it is a plain script and not a module.
try {
  const chosen = localStorage.getItem("runner.theme");
  if (chosen === '"dark"' || chosen === '"light"') document.documentElement.dataset.theme = JSON.parse(chosen);
} catch {
  // A browser that keeps nothing shows what the system prefers.
}
