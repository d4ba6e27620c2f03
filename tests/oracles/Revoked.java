import java.io.FileInputStream;
import java.nio.file.Path;
import java.security.cert.*;
import java.util.*;

/** PKIX with CRLs of the whole path, none fetched: Revoked TIME_MS ROOT ISSUING CRL... -- LEAF..., a verdict a line. */
class Revoked {
    public static void main(String[] args) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        int split = Arrays.asList(args).indexOf("--");
        List<CRL> crls = new ArrayList<>();
        for (int at = 3; at < split; at++) crls.add(factory.generateCRL(new FileInputStream(args[at])));
        X509Certificate root = (X509Certificate) factory.generateCertificate(new FileInputStream(args[1]));
        Certificate issuing = factory.generateCertificate(new FileInputStream(args[2]));
        for (int at = split + 1; at < args.length; at++) {
            Certificate leaf = factory.generateCertificate(new FileInputStream(args[at]));
            PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
            parameters.setDate(new Date(Long.parseLong(args[0])));
            parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls)));
            CertPathValidator validator = CertPathValidator.getInstance("PKIX");
            PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
            checker.setOptions(EnumSet.of(
                PKIXRevocationChecker.Option.PREFER_CRLS, PKIXRevocationChecker.Option.NO_FALLBACK));
            parameters.addCertPathChecker(checker);
            String verdict = "good";
            try {
                validator.validate(factory.generateCertPath(List.of(leaf, issuing)), parameters);
            } catch (CertPathValidatorException error) {
                verdict = error.getReason().toString();
            }
            System.out.println(Path.of(args[at]).getFileName() + " " + verdict);
        }
    }
}
