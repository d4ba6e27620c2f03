import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.security.GeneralSecurityException;
import java.security.cert.*;
import java.util.*;

/**
 * Java's PKIX as an oracle: a line of "epoch roots leaf others CRLs", each a comma-separated list in base64, gives OK, or
 * NO and the reason.  The path is built from what was sent, and every certificate of it is looked up in the CRLs.
 */
public class PathBuild {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(verdict(line.split(" ", -1)));
        }
    }

    private static String verdict(String[] parts) {
        try {
            Set<TrustAnchor> anchors = new HashSet<>();
            for (X509Certificate root : certificates(parts[1])) {
                anchors.add(new TrustAnchor(root, null));
            }
            List<X509Certificate> leaf = certificates(parts[2]);
            X509CertSelector target = new X509CertSelector();
            target.setCertificate(leaf.get(0));
            PKIXBuilderParameters how = new PKIXBuilderParameters(anchors, target);
            List<Object> known = new ArrayList<>(certificates(parts[3]));
            known.addAll(leaf);
            for (String one : parts[4].split(",")) {
                known.add(factory().generateCRL(new ByteArrayInputStream(Base64.getDecoder().decode(one))));
            }
            how.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(known)));
            how.setDate(new Date(Long.parseLong(parts[0]) * 1000));
            CertPathBuilder builder = CertPathBuilder.getInstance("PKIX");
            PKIXRevocationChecker checker = (PKIXRevocationChecker) builder.getRevocationChecker();
            checker.setOptions(EnumSet.of(
                PKIXRevocationChecker.Option.PREFER_CRLS, PKIXRevocationChecker.Option.NO_FALLBACK));
            how.addCertPathChecker(checker);
            builder.build(how);
            return "OK";
        } catch (GeneralSecurityException | RuntimeException error) {
            StringBuilder why = new StringBuilder("NO");
            for (Throwable one = error; one != null; one = one.getCause()) {
                why.append(" ").append(one.toString().replace('\n', ' '));
            }
            return why.toString();
        }
    }

    private static List<X509Certificate> certificates(String list) throws GeneralSecurityException {
        List<X509Certificate> found = new ArrayList<>();
        for (String one : list.split(",")) {
            if (!one.isEmpty()) {
                byte[] der = Base64.getDecoder().decode(one);
                found.add((X509Certificate) factory().generateCertificate(new ByteArrayInputStream(der)));
            }
        }
        return found;
    }

    private static CertificateFactory factory() throws CertificateException {
        return CertificateFactory.getInstance("X.509");
    }
}
