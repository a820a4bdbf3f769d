declare module "virtual:npm-packages" {
  const list: { name: string; version: string; licence: string }[];
  export default list;
}
