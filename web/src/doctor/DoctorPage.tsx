export default function DoctorPage() {
  return <main id="main" tabIndex={-1} />;
}
