showHead();
showDistribution();
showLegend();
showGalleries();
showTable();
// At once and complete: nothing that a reader has begun with moves.
for (const built of document.querySelectorAll("body > header, main")) built.hidden = false;
