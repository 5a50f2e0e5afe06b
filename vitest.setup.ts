const major = Number(process.versions.node.split('.')[0]);
if (major < 24)
  throw new Error(`S3T runs on Node 24 or newer; this is ${process.version}. Use \`npm test\`.`);
