// Before the page is drawn: the colours a person chose here, else the system's.
(() => {
  const chosen = localStorage.getItem("pointsman-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
