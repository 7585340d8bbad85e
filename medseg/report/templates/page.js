// What the page does once it is there.
function openFoldsToPrint() {
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not(.whole)")].filter((each) => !each.open);
    for (const each of folded) each.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
  });
}

function followLinks(viewer) {
  const section = document.getElementById("viewer");
  function follow() {
    const index = viewer.cases.findIndex(({ anchor }) => `#${anchor}` === location.hash);
    if (index < 0) return false;
    viewer.show(index);
    section.scrollIntoView();
    document.getElementById("viewer-title").focus({ preventScroll: true });
    return true;
  }
  window.addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    if (event.target instanceof HTMLAnchorElement && event.target.hash === location.hash) follow();
  });
  if (!follow()) viewer.show(0);
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
makeFilterable(document.querySelector("table.sortable"), document.getElementById("filter"));
openFoldsToPrint();
document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("viewer-box");
  if (!root) return;
  followLinks(makeViewer(root, JSON.parse(document.getElementById("viewer-facts").textContent)));
});
