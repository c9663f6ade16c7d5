export const revalidate = 60;

export default function About() {
  return <p>about us</p>;
}
