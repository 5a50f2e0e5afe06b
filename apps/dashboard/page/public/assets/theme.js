// Before the first paint: the theme that was chosen on this machine, else the system's.
try {
  const theme = localStorage.getItem('s3t-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {}
