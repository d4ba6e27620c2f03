import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.security.GeneralSecurityException;
import java.security.cert.*;
import java.util.*;

/** Java's PKIX as an oracle: a line of "epoch root leaf intermediate..." in base64 gives OK, or NO and the reason. */
public class PathCheck {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(verdict(line.split(" ")));
        }
    }

    private static String verdict(String[] parts) {
        try {
            List<X509Certificate> found = new ArrayList<>();
            for (int at = 1; at < parts.length; at++) {
                byte[] der = Base64.getDecoder().decode(parts[at]);
                CertificateFactory factory = CertificateFactory.getInstance("X.509");
                found.add((X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der)));
            }
            PKIXParameters how = new PKIXParameters(Set.of(new TrustAnchor(found.get(0), null)));
            how.setRevocationEnabled(false);
            how.setDate(new Date(Long.parseLong(parts[0]) * 1000));
            CertPath path = CertificateFactory.getInstance("X.509").generateCertPath(found.subList(1, found.size()));
            CertPathValidator.getInstance("PKIX").validate(path, how);
            return "OK";
        } catch (GeneralSecurityException | RuntimeException error) {
            return "NO " + error.toString().replace('\n', ' ');
        }
    }
}
